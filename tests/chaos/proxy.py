"""A TCP proxy of our own, through which a chaos run makes networks misbehave."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle

_CHUNK = 65536


class TcpProxy:
    """Forwards to the first of its upstreams that answers. Faults hold for all its connections at once.

    `delay`: seconds that each chunk waits; `rate`: bytes a second; `refusing`: no connection comes to be;
    `swallowing`: half open, what is sent arrives nowhere and nobody is told.
    """

    def __init__(self, port: int, upstreams: Sequence[int]) -> None:
        self.port = port
        self.lead_to(upstreams)
        self.delay = 0.0
        self.rate: float | None = None
        self.refusing = False
        self.swallowing = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def lead_to(self, upstreams: Sequence[int]) -> None:
        """New connections go to these ports from now on."""
        self._upstreams = cycle(upstreams)
        self._count = len(upstreams)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Resets all connections there are."""
        for writer in list(self._writers):
            writer.transport.abort()

    def heal(self) -> None:
        self.delay, self.rate, self.refusing, self.swallowing = 0.0, None, False, False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            upstream = None if self.refusing else await self._connect()
            if upstream is not None:
                await self._join(reader, writer, *upstream)
        except (OSError, asyncio.CancelledError):
            return
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in range(self._count):
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", next(self._upstreams))
        return None

    async def _join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader, far_writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        self._writers.add(far_writer)
        pumps = [asyncio.create_task(self._pump(*ends)) for ends in ((reader, far_writer), (far_reader, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._writers.discard(far_writer)
            far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if self.swallowing:
                continue
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.rate is not None:
                await asyncio.sleep(len(data) / self.rate)
            writer.write(data)
            await writer.drain()
