"""What workers tell of their attempts, written down: preparation failed, given back, started, ended."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from kirby_common import failpoints
from kirby_common.ledger import attempts as ledger_attempts
from kirby_common.ledger.attempts import NO_HOLDER, attempts
from kirby_common.ledger.ends import End, Verdict, verdict
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.runs import RunRow, amend, read, runs, transition
from kirby_common.ledger.successors import follow
from kirby_common.ledger.transitions import ENDED, Status
from kirby_common.worker_protocol import Report, ReportKind, ReportOutcome
from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from kirby_api.ledger_role.finding import find, is_findable

MAX_PREPARATIONS = 5


async def take(
    tx: AsyncConnection, worker: Row[Any], reports: Sequence[Report], *, offers_prefix: str
) -> list[ReportOutcome]:
    """Writes the facts down, in order; a repeat gets the first one's answer. What follows the ends is written along."""
    now = await database_now(tx)
    await _lock(tx, reports)
    outcomes = []
    for report in reports:
        run = await read(tx, report.run_id, lock=True)
        outcomes.append(await _one(tx, worker, report, run, now=now))
    over = [o.run_id for o in outcomes if o.accepted and o.status in ENDED]
    if over:
        ended = (await tx.execute(select(runs).where(runs.c.id.in_(over)))).all()
        await failpoints.hit("reports.before_successors")
        await follow(tx, ended, offers_prefix=offers_prefix)
    return outcomes


async def _lock(tx: AsyncConnection, reports: Sequence[Report]) -> None:
    """All that the reports touch, in the one order: runs by id, then attempts by id, as a beat takes them."""
    ids = {report.run_id for report in reports}
    await tx.execute(select(runs.c.id).where(runs.c.id.in_(ids)).order_by(runs.c.id).with_for_update())
    await ledger_attempts.lock(tx, attempts.c.run_id.in_(ids))


async def _one(
    tx: AsyncConnection, worker: Row[Any], report: Report, run: RunRow | None, *, now: datetime
) -> ReportOutcome:
    if run is None:
        return _refused(report, None, "there is no such run")
    attempt = await _attempt(tx, report)
    if attempt is None or attempt.worker != worker.name:
        return _refused(report, run, "the attempt is not this worker's")
    if run.grant_no != report.grant:
        if report.kind is ReportKind.ENDED and attempt.open:
            await _close_superseded(tx, report, now)
        return _refused(report, run, "another grant has taken over")
    match report.kind:
        case ReportKind.STARTED:
            return await _started(tx, worker, report, run, attempt, now)
        case ReportKind.ENDED:
            return await _ended(tx, report, run, attempt, now=now)
        case ReportKind.NOT_LAUNCHED:
            return await _not_launched(tx, report, run, now)
        case ReportKind.RELEASED:
            return await _released(tx, report, run, now)
        case ReportKind.PREPARATION_FAILED:
            return await _preparation_failed(tx, report, run, now)


async def _started(
    tx: AsyncConnection, worker: Row[Any], report: Report, run: RunRow, attempt: Row[Any], now: datetime
) -> ReportOutcome:
    started = now - timedelta(milliseconds=report.started_ms_ago or 0)
    if run.status == Status.LAUNCHING:
        run = await transition(tx, run, Status.RUNNING, started_at=run.started_at or started, ended_at=None)
    elif await is_findable(tx, run, attempt):
        run = await find(tx, run, incarnation=worker.incarnation, started_at=started)
    else:
        known = run.status == Status.RUNNING
        return _accepted(report, run) if known else _refused(report, run, f"the run is {run.status}")
    await tx.execute(
        update(attempts)
        .where(attempts.c.run_id == run.id, attempts.c.grant_no == run.grant_no)
        .values(status="RUNNING", started_at=started, pid=report.pid)
    )
    return _accepted(report, run)


async def _ended(
    tx: AsyncConnection, report: Report, run: RunRow, attempt: Row[Any], *, now: datetime
) -> ReportOutcome:
    if run.status not in {Status.LAUNCHING, Status.RUNNING, Status.LOST}:
        known = run.status in ENDED or not attempt.open
        return _accepted(report, run) if known else _refused(report, run, f"the run is {run.status}")
    end = End(
        exit_code=report.exit_code, signal=report.signal, killed_by=report.killed_by, reason=report.reason,
        late=run.status == Status.LOST,
    )  # fmt: skip
    policies = Policies.model_validate(run.policies)
    since = None if run.started_at is None else now - run.started_at
    what = verdict(
        end, policies, attempt=run.attempt, daemon=run.kind == "daemon", since_first_start=since,
        kill_note=run.reason if run.kill_why else None, random=random.random(),  # noqa: S311 (a delay, no secret)
    )  # fmt: skip
    log = None if report.log is None else report.log.model_dump()
    started = now - timedelta(milliseconds=report.started_ms_ago) if report.started_ms_ago is not None else None
    ended = now - timedelta(milliseconds=report.ended_ms_ago or 0)
    await ledger_attempts.close(
        tx, run, status=what.attempt_status, reason=what.reason, at=ended, exit_code=report.exit_code,
        signal=report.signal, log=log, started_at=attempt.started_at or started,
    )  # fmt: skip
    run = await _write_end(tx, run, report, what, started=started, ended=ended, log=log, now=now)
    return _accepted(report, run)


async def _write_end(
    tx: AsyncConnection, run: RunRow, report: Report, what: Verdict, *,
    started: datetime | None, ended: datetime, log: dict[str, Any] | None, now: datetime,
) -> RunRow:  # fmt: skip
    common = {
        "exit_code": report.exit_code, "signal": report.signal, "reason": what.reason, "log": log,
        "started_at": run.started_at or started, "unfenced": False, "kill_why": None, "kill_by": None,
    }  # fmt: skip
    if what.retry_after is None and run.status == what.status:
        # Lost before, and now its worker says that nobody saw the end: its places are free.
        return await amend(tx, run, **common)
    if what.retry_after is None:
        return await transition(tx, run, what.status, ended_at=ended, **common)
    startable = now + what.retry_after
    deadline = startable + Policies.model_validate(run.policies).start_deadline
    waiting = {"startable_at": startable, "deadline_at": deadline, **NO_HOLDER}
    retrying = await transition(tx, run, Status.RETRYING, **common, **waiting)
    if what.retry_after > timedelta(0):
        return retrying
    return await transition(tx, retrying, Status.PENDING)


async def _not_launched(tx: AsyncConnection, report: Report, run: RunRow, now: datetime) -> ReportOutcome:
    if run.status == Status.LOST:
        # It is known now that nothing was started: whoever waits for its places gets them.
        if run.unfenced:
            run = await amend(tx, run, unfenced=False, reason=f"{run.reason}; it had not started")
        return _accepted(report, run)
    if run.status != Status.LAUNCHING:
        known = run.status in {Status.PENDING, Status.CLAIMED}
        return _accepted(report, run) if known else _refused(report, run, f"the run is {run.status}")
    reason = report.reason or "the worker could not start it in time"
    await ledger_attempts.close(tx, run, status="NOT_LAUNCHED", reason=reason, at=now, attempt=None)
    run = await transition(tx, run, Status.PENDING, attempt=run.attempt - 1, reason=reason, **NO_HOLDER)
    return _accepted(report, run)


async def _released(tx: AsyncConnection, report: Report, run: RunRow, now: datetime) -> ReportOutcome:
    if run.status == Status.CLAIMED:
        await ledger_attempts.close(tx, run, status="RELEASED", reason=report.reason or "given back", at=now)
        run = await transition(tx, run, Status.PENDING, **NO_HOLDER)
    return _accepted(report, run)


async def _preparation_failed(tx: AsyncConnection, report: Report, run: RunRow, now: datetime) -> ReportOutcome:
    if run.status != Status.CLAIMED:
        return _accepted(report, run)
    failures = run.failed_preparations + 1
    reason = report.reason or "the environment could not be prepared"
    await ledger_attempts.close(tx, run, status="PREPARATION_FAILED", reason=reason, at=now)
    if failures >= MAX_PREPARATIONS:
        run = await transition(
            tx, run, Status.FAILED, failed_preparations=failures, ended_at=now,
            reason=f"could not be prepared: {reason}", **NO_HOLDER,
        )  # fmt: skip
    else:
        wait = timedelta(seconds=2.0 ** (failures - 1))
        run = await transition(
            tx, run, Status.PENDING, failed_preparations=failures, startable_at=now + wait, reason=reason, **NO_HOLDER
        )
    return _accepted(report, run)


async def _attempt(tx: AsyncConnection, report: Report) -> Row[Any] | None:
    statement = select(attempts).where(attempts.c.run_id == report.run_id, attempts.c.grant_no == report.grant)
    return (await tx.execute(statement)).one_or_none()


async def _close_superseded(tx: AsyncConnection, report: Report, now: datetime) -> None:
    await tx.execute(
        update(attempts)
        .where(attempts.c.run_id == report.run_id, attempts.c.grant_no == report.grant)
        .values(status="SUPERSEDED", exit_code=report.exit_code, signal=report.signal, open=False, ended_at=now)
    )


def _accepted(report: Report, run: RunRow) -> ReportOutcome:
    return ReportOutcome(run_id=report.run_id, grant=report.grant, accepted=True, status=run.status)


def _refused(report: Report, run: RunRow | None, reason: str) -> ReportOutcome:
    status = None if run is None else str(run.status)
    return ReportOutcome(run_id=report.run_id, grant=report.grant, accepted=False, status=status, reason=reason)
