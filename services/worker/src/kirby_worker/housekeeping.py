"""What has to be tidied up from time to time: orphans, ended shims, venvs that nobody uses."""

import asyncio
from datetime import timedelta

import structlog
from kirby_common.clock import Clock

from kirby_worker.adapters.processes import Strangers
from kirby_worker.adapters.shims import ShimPool
from kirby_worker.adapters.uv import Uv
from kirby_worker.adapters.venvs import Venvs
from kirby_worker.desk import Desk
from kirby_worker.preparing import path_of

log = structlog.get_logger()

_EVERY_S = 2.0
_COLLECT_EVERY_S = 3600.0


class Housekeeper:
    def __init__(
        self, *, pool: ShimPool, uv: Uv, venvs: Venvs, desk: Desk, keep_venvs: timedelta, clock: Clock
    ) -> None:
        self._pool = pool
        self._uv = uv
        self._venvs = venvs
        self._desk = desk
        self._keep_venvs = keep_venvs
        self._clock = clock
        self._strangers = Strangers()

    async def run(self) -> None:
        collect_at = self._clock.boot()
        while True:
            self.tidy()
            if self._clock.boot() >= collect_at:
                collect_at += _COLLECT_EVERY_S
                await self._collect()
            await asyncio.sleep(_EVERY_S)

    def tidy(self) -> None:
        """Reaps ended shims, and kills the orphans that have fallen to this process."""
        self._pool.reap()
        self._strangers.sweep(own=self._pool.pids | self._uv.pids)

    async def _collect(self) -> None:
        in_use = [path_of(held.kept) for held in self._desk.all() if held.kept is not None]
        removed = await self._venvs.collect(unused_for=self._keep_venvs, in_use=in_use)
        if removed:
            log.info("venvs.collected", removed=removed)
