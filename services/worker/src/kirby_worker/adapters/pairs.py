"""Pairs of a shim and an interpreter that wait for a run nobody has asked for yet."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from kirby_common.clock import Clock

from kirby_worker.adapters.shims import ShimChannel, ShimPool
from kirby_worker.domain.arming import Load

log = structlog.get_logger()

_EACH = 2
_IDLE_S = 300.0
_LOOK_S = 30.0
_AFTER_S = 0.3
"""The run that has just taken a pair comes first."""


@dataclass(frozen=True)
class Pair:
    shim: ShimChannel
    since: float


class Pairs:
    """A few for each load in use; those that nobody takes end after a while."""

    def __init__(
        self, pool: ShimPool, *, most: int, manner: dict[str, Any], may_wait: Callable[[], bool], clock: Clock
    ) -> None:
        self._pool = pool
        self._most = most
        self._manner = manner
        self._may_wait = may_wait
        self._clock = clock
        self._idle: dict[Load, deque[Pair]] = {}
        self._used: dict[Load, float] = {}
        self._taken = asyncio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._idle.values()))

    def take(self, load: Load) -> ShimChannel | None:
        """A pair of this load, if there is one; there will be one the next time."""
        self._used[load] = self._clock.boot()
        self._taken.set()
        idle = self._idle.get(load, deque())
        while idle:
            pair = idle.popleft()
            if self._pool.lives(pair.shim):
                return pair.shim
            pair.shim.close()
        return None

    async def run(self) -> None:
        """Brings up what is missing and ends what is idle, for ever."""
        while True:
            self._end_idle()
            await self._bring_up()
            try:
                async with asyncio.timeout(_LOOK_S if self._idle else None):
                    await self._taken.wait()
            except TimeoutError:
                continue
            self._taken.clear()
            await asyncio.sleep(_AFTER_S)

    def end_those_of(self, venv: Path) -> None:
        """The venv goes away, or is another one from now on."""
        for load in [load for load in {*self._used, *self._idle} if Path(load.python).is_relative_to(venv)]:
            self._end(load)

    def close(self) -> None:
        for load in list(self._idle):
            self._end(load)

    async def _bring_up(self) -> None:
        for load in sorted(self._used, key=lambda u: self._used[u], reverse=True):
            while len(self._idle.get(load, ())) < _EACH and len(self) < self._most and self._may_wait():
                shim = await self._pool.take()
                if load not in self._used:
                    return shim.close()
                shim.send({"t": "load", "load": load.message()} | self._manner)
                self._idle.setdefault(load, deque()).append(Pair(shim, self._clock.boot()))
                log.debug("pair.waits", python=load.python)

    def _end_idle(self) -> None:
        now = self._clock.boot()
        for load, used in list(self._used.items()):
            if now - used > _IDLE_S:
                self._end(load)

    def _end(self, load: Load) -> None:
        self._used.pop(load, None)
        for pair in self._idle.pop(load, ()):
            pair.shim.close()
