"""The worker's token: the scheduler makes it and hands it over by pipe; it stays in memory, never on disk or argv."""

import asyncio
import os
from contextlib import suppress


class Enrolment:
    """Asks the scheduler once for the token of its worker, and gives it to every start of the worker."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._token: bytes | None = None
        self._waiting: list[int] = []

    def for_scheduler(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """The scheduler's words and the descriptor it writes to."""
        if self._token is not None:
            return (), ()
        read, write = os.pipe()
        os.set_blocking(read, False)
        asyncio.get_running_loop().add_reader(read, self._receive, read)
        return ("--enrol", self._name, "--enrol-fd", str(write)), (write,)

    def for_worker(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """The worker's words and the descriptor it reads; it waits there until the token has come."""
        read, write = os.pipe()
        if self._token is None:
            self._waiting.append(write)
        else:
            _give(write, self._token)
        return ("--token-fd", str(read)), (read,)

    def _receive(self, read: int) -> None:
        with suppress(BlockingIOError):
            got = os.read(read, 4096)
            asyncio.get_running_loop().remove_reader(read)
            os.close(read)
            if got.endswith(b"\n"):
                self._token = got
                while self._waiting:
                    _give(self._waiting.pop(), got)


def _give(write: int, token: bytes) -> None:
    with suppress(BrokenPipeError):
        os.write(write, token)
    os.close(write)
