"""Reports wait until they are answered; a ledger that is slow is asked for less at once."""

import asyncio
from typing import Any, cast
from uuid import UUID

from kirby_common.clock import SystemClock
from kirby_common.worker_protocol import ReportAnswer, ReportKind, ReportOutcome, ReportRequest
from kirby_worker.adapters.endpoint import Unavailable
from kirby_worker.domain.attempt import Ref, Settled
from kirby_worker.reporting import Fact, Reporter

from tests.eventually import eventually


class SlowLedger:
    """Writes no more than `most` reports down in time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.asked: list[int] = []

    async def report(self, request: ReportRequest) -> ReportAnswer:
        self.asked.append(len(request.reports))
        if len(request.reports) > self.most:
            raise Unavailable("/reports: timed out")
        outcomes = [ReportOutcome(run_id=r.run_id, grant=r.grant, accepted=True) for r in request.reports]
        return ReportAnswer(outcomes=outcomes)


async def test_a_backlog_is_told_in_parts_that_a_slow_ledger_can_take_and_in_order() -> None:
    ledger, settled = SlowLedger(most=5), list[Ref]()

    def on_settled(ref: Ref, _: Settled) -> None:
        settled.append(ref)

    reporter = Reporter(cast(Any, ledger), clock=SystemClock(), on_settled=on_settled)
    refs = [Ref(UUID(int=n), 1) for n in range(20)]
    for ref in refs:
        reporter.tell(Fact(ref, ReportKind.RELEASED, "drained", {}))
    running = asyncio.create_task(reporter.run())
    try:
        await eventually(lambda: reporter.idle, what="all to be told")
        assert settled == refs
        assert ledger.asked[:5] == [20, 10, 5, 10, 5]
        ledger.most = 200
        more = [Ref(UUID(int=n), 2) for n in range(300)]
        for ref in more:
            reporter.tell(Fact(ref, ReportKind.RELEASED, "drained", {}))
        await eventually(lambda: reporter.idle, what="the rest to be told")
        assert settled == refs + more
        assert max(ledger.asked) > 100
    finally:
        running.cancel()
