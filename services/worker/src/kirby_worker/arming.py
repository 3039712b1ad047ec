"""How each prepared run will start: from an interpreter that is up already, or plainly."""

from collections.abc import Callable
from typing import Any

from kirby_common.clock import Clock

from kirby_worker.adapters.pairs import Pairs
from kirby_worker.adapters.shims import ShimChannel, ShimPool
from kirby_worker.desk import Desk, Held
from kirby_worker.domain.arming import SOON_S, Load, Memory, may_wait


class Armoury:
    """Arms what is due in a while, and has pairs at hand for what is due at once; both within one bound."""

    def __init__(
        self,
        pool: ShimPool,
        desk: Desk,
        *,
        most: int,
        pairs: int,
        manner: dict[str, Any],
        memory: Callable[[], Memory],
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._desk = desk
        self._most = most
        self._memory = memory
        self._clock = clock
        self.pairs = Pairs(pool, most=min(pairs, most), manner=manner, may_wait=self._may_wait, clock=clock)

    async def shim_for(self, held: Held, task: dict[str, Any], load: Load | None) -> ShimChannel:
        """A shim for the task, which says by then whether an interpreter is brought up for it."""
        if load is None or held.attempt.daemon:
            return await self._pool.take()
        if held.attempt.due - self._clock.boot() < SOON_S:
            return self.pairs.take(load) or await self._pool.take()
        if self._may_wait():
            held.armed = True
            task["load"] = load.message()
        return await self._pool.take()

    def _may_wait(self) -> bool:
        armed = sum(1 for held in self._desk.all() if held.armed and not held.attempt.started)
        return may_wait(armed + len(self.pairs), most=self._most, memory=self._memory())
