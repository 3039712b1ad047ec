"""Lock work: when a claim's answer says that there is some, takes a version, resolves it and tells the outcome."""

import asyncio

import structlog
from kirby_common.worker_protocol import LockClaimRequest, LockResult, LockWork

from kirby_worker.adapters.endpoint import Unavailable
from kirby_worker.adapters.uv import Uv, interpreter_version, platform_tag
from kirby_worker.adapters.venvs import Venvs
from kirby_worker.desk import Desk
from kirby_worker.ports import Endpoint
from kirby_worker.resolving import resolve

log = structlog.get_logger()

_POLL_S = 1.0
_AT_ONCE = 2


class LockWorker:
    def __init__(self, endpoint: Endpoint, *, uv: Uv, venvs: Venvs, desk: Desk, wanted: asyncio.Event) -> None:
        self._endpoint = endpoint
        self._uv = uv
        self._venvs = venvs
        self._desk = desk
        self._wanted = wanted
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        request = LockClaimRequest(platform=platform_tag(), python=interpreter_version())
        async with asyncio.TaskGroup() as group:
            while True:
                await self._free.acquire()
                work = None if self._desk.draining else await self._claim(request)
                if work is None:
                    self._free.release()
                    self._wanted.clear()
                    await self._wanted.wait()
                else:
                    group.create_task(self._do(work))

    async def _claim(self, request: LockClaimRequest) -> LockWork | None:
        try:
            return (await self._endpoint.claim_lock(request)).work
        except Unavailable as error:
            log.debug("locks.unanswered", reason=str(error))
            return None

    async def _do(self, work: LockWork) -> None:
        try:
            async with asyncio.timeout(work.lease_ms / 1000):
                result = await resolve(work, uv=self._uv, venvs=self._venvs)
                log.info("lock.resolved", package=work.package_name, version=work.package_version, error=result.error)
                await self._deliver(result)
        except TimeoutError:
            log.warning("lock.too_slow", package=work.package_name, version=work.package_version)
        finally:
            self._free.release()

    async def _deliver(self, result: LockResult) -> None:
        while True:
            try:
                return await self._endpoint.lock_result(result)
            except Unavailable as error:
                log.warning("lock.undelivered", reason=str(error))
                await asyncio.sleep(_POLL_S)
