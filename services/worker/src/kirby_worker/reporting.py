"""Reports to the ledger: kept until they are answered, in order, many in one request.

As long as a request of them is written down, beats for the same attempts wait. So after one that was not answered the
next has half as many, down to one, and twice as many after an answer: what has piled up at a slow ledger gets less.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from kirby_common import failpoints
from kirby_common.clock import Clock
from kirby_common.worker_protocol import LogSummary, Report, ReportKind, ReportRequest

from kirby_worker.adapters.endpoint import Unavailable
from kirby_worker.domain.attempt import Ref, Settled
from kirby_worker.ports import Endpoint

log = structlog.get_logger()

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0
_AT_ONCE = 200


@dataclass(frozen=True)
class Fact:
    """A report before it is sent; its moments are the boot clock's until then."""

    ref: Ref
    kind: ReportKind
    reason: str | None
    shim: dict[str, Any]

    def report(self, *, now: float) -> Report:
        told = self.shim if self.kind in (ReportKind.STARTED, ReportKind.ENDED) else {}
        ended = told if self.kind is ReportKind.ENDED else {}
        return Report(
            kind=self.kind,
            run_id=self.ref.run_id,
            grant=self.ref.grant,
            attempt=told.get("attempt"),
            reason=self.reason,
            pid=told.get("pid"),
            started_ms_ago=_ms_ago(told.get("started_at"), now),
            ended_ms_ago=_ms_ago(ended.get("ended_at"), now),
            exit_code=ended.get("exit_code"),
            signal=ended.get("signal"),
            killed_by=ended.get("killed_by"),
            log=LogSummary.model_validate(ended["log"]) if ended.get("log") else None,
        )


def _ms_ago(moment: float | None, now: float) -> float | None:
    return None if moment is None else max(0.0, (now - moment) * 1000)


class Reporter:
    def __init__(self, endpoint: Endpoint, *, clock: Clock, on_settled: Callable[[Ref, Settled], None]) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._on_settled = on_settled
        self._waiting: list[Fact] = []
        self._more = asyncio.Event()

    @property
    def idle(self) -> bool:
        return not self._waiting

    def tell(self, fact: Fact) -> None:
        self._waiting.append(fact)
        self._more.set()

    async def run(self) -> None:
        """Sends what is waiting, for ever; outlives an absent endpoint."""
        wait, at_once = _FIRST_WAIT_S, _AT_ONCE
        while True:
            await self._more.wait()
            batch = self._waiting[:at_once]
            await _hit_each("worker.telling", batch)
            now = self._clock.boot()
            try:
                answer = await self._endpoint.report(ReportRequest(reports=[f.report(now=now) for f in batch]))
            except Unavailable as error:
                log.warning("report.unanswered", reports=len(batch), reason=str(error))
                await asyncio.sleep(wait)
                wait, at_once = min(wait * 2, _LONGEST_WAIT_S), max(1, len(batch) // 2)
                continue
            await _hit_each("worker.told", batch)
            wait, at_once = _FIRST_WAIT_S, min(at_once * 2, _AT_ONCE)
            del self._waiting[: len(batch)]
            if not self._waiting:
                self._more.clear()
            for fact, outcome in zip(batch, answer.outcomes, strict=True):
                if not outcome.accepted:
                    log.warning("report.refused", run=str(fact.ref), kind=fact.kind, reason=outcome.reason)
                self._on_settled(fact.ref, Settled(fact.kind, outcome.accepted, outcome.status))


async def _hit_each(place: str, batch: list[Fact]) -> None:
    for kind in {fact.kind for fact in batch}:
        await failpoints.hit(f"{place}.{kind}")
