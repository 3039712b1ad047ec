"""Log shipping: from each attempt's spool to `.kirby.logs`, in order, several messages in flight."""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog
from kirby_common.clock import Clock
from kirby_common.ports import Bus, BusUnavailable
from kirby_common.topics import LOGS

from kirby_worker.adapters.spool import LogMessage, Position, SpoolReader
from kirby_worker.domain.attempt import Ref

log = structlog.get_logger()

IN_FLIGHT = 4
STALLED_S, LONGEST_STALLED_S = 30.0, 600.0
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0


class Shipper:
    """One attempt's log. Keeps the spool until the recorder has all of it."""

    def __init__(
        self,
        ref: Ref,
        reader: SpoolReader,
        *,
        bus: Bus,
        clock: Clock,
        on_read: Callable[[], None],
        resumed: bool = False,
    ) -> None:
        self.ref = ref
        self._reader = reader
        self._bus = bus
        self._clock = clock
        self._on_read = on_read
        self._more = asyncio.Event()
        self._more.set()
        self._flying: deque[tuple[LogMessage, asyncio.Task[object]]] = deque()
        self._next = Position()
        self._acked = -1
        self._acked_at = clock.boot()
        self._patience = STALLED_S
        self._end_seq: int | None = None
        self._writer_gone = False
        self._dropped = False
        self._waits_for_word = resumed

    @property
    def sent_all(self) -> bool:
        """Everything that the spool holds now is on Kafka."""
        return not self._flying and self._reader.read(self._next) is None

    def drop(self) -> None:
        """Nothing of it is wanted."""
        self._dropped = True
        self._more.set()

    def wake(self) -> None:
        """There may be more in the spool."""
        self._more.set()

    def writer_gone(self) -> None:
        """The shim is dead: nothing is added to the spool any more, with or without a last frame."""
        self._writer_gone = True
        self._more.set()

    def acknowledged(self, last_seq: int) -> None:
        """How far the recorder has got. If it has not moved for long, the rest is sent anew: Kafka was wiped."""
        if self._waits_for_word:
            self._waits_for_word = False
            self._next = self._reader.skip(self._reader.first_position(), through=last_seq)
        if last_seq > self._acked:
            self._acked, self._acked_at, self._patience = last_seq, self._clock.boot(), STALLED_S
            self._reader.discard(through=last_seq)
        elif (
            self._next.seq - 1 > last_seq and self._clock.boot() - self._acked_at > self._patience and not self._flying
        ):
            log.warning("log.sent_again", run=str(self.ref), after=last_seq)
            self._next = self._reader.skip(self._reader.first_position(), through=last_seq)
            self._acked_at = self._clock.boot()
            # It may only be slow: what is sent again and again would make it slower.
            self._patience = min(self._patience * 2, LONGEST_STALLED_S)
        self._more.set()

    async def run(self) -> None:
        """Ships until the recorder has everything."""
        wait = _FIRST_WAIT_S
        while not self._complete():
            try:
                moved = await self._ship()
                wait = _FIRST_WAIT_S
            except BusUnavailable as error:
                log.warning("log.waiting", run=str(self.ref), reason=str(error))
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT_S)
                continue
            if not moved:
                await self._more.wait()

    def _complete(self) -> bool:
        if self._dropped:
            return True
        if self._end_seq is not None:
            return self._acked >= self._end_seq
        return self._writer_gone and not self._flying and self._acked + 1 >= self._next.seq and self.sent_all

    async def _ship(self) -> bool:
        """Sends what there is; False when there was nothing."""
        self._more.clear()
        moved = False
        if self._waits_for_word:
            return False
        while True:
            message = self._reader.read(self._next) if len(self._flying) < IN_FLIGHT else None
            if message is not None:
                self._send(message)
                moved = True
                continue
            if not self._flying:
                self._on_read()
                return moved
            await self._land()

    def _send(self, message: LogMessage) -> None:
        key = str(self.ref.run_id).encode()
        sending = self._bus.send(LOGS, key=key, value=message.value, headers=message.headers(self.ref.grant))
        self._flying.append((message, asyncio.ensure_future(sending)))
        self._next = message.after
        if message.ends:
            self._end_seq = message.last

    async def _land(self) -> None:
        """Waits for the oldest one; when it failed, all that followed it are sent again after it."""
        message, task = self._flying[0]
        try:
            await asyncio.shield(task)
        except BusUnavailable:
            await asyncio.gather(*(t for _, t in self._flying), return_exceptions=True)
            self._flying.clear()
            self._next = message.begin
            raise
        self._flying.popleft()
