"""LAUNCHING: asked for shortly before the due instant, in one request for all that are due."""

import asyncio
from collections.abc import Sequence

import structlog
from kirby_common import failpoints
from kirby_common.clock import Clock
from kirby_common.worker_protocol import LaunchAnswer, LaunchRequest, RunRef

from kirby_worker.adapters.endpoint import Unavailable
from kirby_worker.desk import Desk
from kirby_worker.domain.attempt import START_WITHIN_S, Asked, Attempt, Decided, Ref, Unanswered
from kirby_worker.domain.capacity import Limits, next_ask, to_ask
from kirby_worker.ports import Endpoint

log = structlog.get_logger()

_RETRY_S = 0.05


class Launcher:
    def __init__(self, endpoint: Endpoint, desk: Desk, *, limits: Limits, clock: Clock) -> None:
        self._endpoint = endpoint
        self._desk = desk
        self._limits = limits
        self._clock = clock

    async def run(self) -> None:
        """Watches the ready attempts, for ever."""
        async with asyncio.TaskGroup() as requests:
            while True:
                self._desk.changed.clear()
                now = self._clock.boot()
                batch = [a for a in to_ask(self._desk.attempts(), limits=self._limits, now=now) if self._may_ask(a)]
                if batch:
                    for attempt in batch:
                        self._desk.handle(attempt.ref, Asked())
                    requests.create_task(self._ask(batch))
                    continue
                await self._wait(next_ask(self._desk.attempts(), now=now))

    def _may_ask(self, attempt: Attempt) -> bool:
        return not attempt.fenced or self._desk.lease_fresh()

    async def _wait(self, until: float | None) -> None:
        patience = 1.0 if until is None else min(1.0, max(0.0, until - self._clock.boot()))
        try:
            async with asyncio.timeout(patience):
                await self._desk.changed.wait()
        except TimeoutError:
            return

    async def _ask(self, batch: Sequence[Attempt]) -> None:
        """One request, repeated while an answer could still come in time."""
        refs = [attempt.ref for attempt in batch]
        await failpoints.hit("worker.before_launching")
        answer = await self._answer(refs, until=self._clock.boot() + START_WITHIN_S)
        await failpoints.hit("worker.launching")
        decided = {} if answer is None else {Ref(d.run_id, d.grant): d for d in answer.decisions}
        for ref in refs:
            decision = decided.get(ref)
            self._desk.handle(ref, Unanswered() if decision is None else Decided(decision))
            if decision is not None and not decision.ok:
                log.info("launch.refused", run=str(ref), reason=decision.reason, again=decision.retry_at_due)
        await failpoints.hit("worker.going")

    async def _answer(self, refs: Sequence[Ref], *, until: float) -> LaunchAnswer | None:
        request = LaunchRequest(runs=[RunRef(run_id=ref.run_id, grant=ref.grant) for ref in refs])
        while (left := until - self._clock.boot()) > 0:
            try:
                async with asyncio.timeout(left):
                    return await self._endpoint.launch(request)
            except (Unavailable, TimeoutError) as error:
                log.warning("launch.unanswered", runs=len(refs), reason=str(error) or "no answer in time")
                await asyncio.sleep(_RETRY_S)
        return None
