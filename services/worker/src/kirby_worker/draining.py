"""The end of a worker: nothing new, what waits is given back, scripts stay with their shims."""

import asyncio
from collections.abc import Callable

import structlog
from kirby_common.clock import Clock

from kirby_worker.desk import Desk
from kirby_worker.domain import attempt as life
from kirby_worker.domain.attempt import Phase
from kirby_worker.reporting import Reporter

log = structlog.get_logger()

_REPORTS_S = 5.0
_LOGS_S = 3.0
_LOOK_S = 0.02
_BETWEEN = (Phase.ASKING, Phase.ABORTING, Phase.GOING, Phase.SETTLING)


async def drain(desk: Desk, reporter: Reporter, *, clock: Clock) -> bool:
    """True when nothing is left here, so that the name may be given up."""
    desk.draining = True
    for attempt in desk.attempts():
        if attempt.waits or attempt.phase is Phase.ASKING:
            desk.handle(attempt.ref, life.Ordered("drained"))
    await _while(lambda: not reporter.idle or any(a.phase in _BETWEEN for a in desk.attempts()), _REPORTS_S, clock)
    await _while(lambda: any(h.shipper is not None and not h.shipper.sent_all for h in desk.all()), _LOGS_S, clock)
    running = [a for a in desk.attempts() if a.phase is Phase.RUNNING]
    log.info("worker.drained", running=len(running))
    return not desk.attempts()


async def _while(busy: Callable[[], bool], seconds: float, clock: Clock) -> None:
    deadline = clock.boot() + seconds
    while busy() and clock.boot() < deadline:  # noqa: ASYNC110 - Many things together make it so.
        await asyncio.sleep(_LOOK_S)
