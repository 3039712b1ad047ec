"""LAUNCHING, the point of no return: overlap, limits, deadline and grant are decided here and nowhere else."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from kirby_common.ledger import places
from kirby_common.ledger.admission import Answer, Room, Skip, Wait, Yes
from kirby_common.ledger.attempts import attempts, lock
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.runs import RunRow, runs, transition_locked
from kirby_common.ledger.transitions import Status
from kirby_common.ledger.waiting import give_up, park
from kirby_common.worker_protocol import LaunchDecision, RunRef
from sqlalchemy import Row, update
from sqlalchemy.ext.asyncio import AsyncConnection

_TOLERANCE = timedelta(milliseconds=5)


async def launch(
    tx: AsyncConnection, worker: Row[Any], refs: Sequence[RunRef], *, offers_prefix: str
) -> list[LaunchDecision]:
    """Decides for each whether it may start. One transaction, under the locks of `places.lock`."""
    found, limits = await places.lock(tx, [ref.run_id for ref in refs])
    now = await database_now(tx)
    decisions: dict[RunRef, LaunchDecision] = {}
    asking: list[tuple[RunRef, RunRow]] = []
    for ref in refs:
        run = found.get(ref.run_id)
        decision = _over(ref, run, worker)
        if decision is not None or run is None:
            decisions[ref] = decision or _no(ref, "the grant is over")
        else:
            asking.append((ref, run))
    room = await places.room(tx, [run for _, run in asking], limits, now=now)
    answers = [(ref, run, _ask(room, run, now)) for ref, run in sorted(asking, key=lambda a: places.turn(a[1]))]
    admitted = [run for _, run, answer in answers if isinstance(answer, Yes)]
    launched = {run.id: run for run in await _admit(tx, admitted, now=now)}
    for ref, run, answer in answers:
        if isinstance(answer, Yes):
            decisions[ref] = _yes(ref, launched[run.id].attempt)
        else:
            # After the others were admitted: what has just been launched may be what is to be ended for it.
            decisions[ref] = await _refuse(tx, ref, run, answer, now=now, offers_prefix=offers_prefix)
    return [decisions[ref] for ref in refs]


def _over(ref: RunRef, run: RunRow | None, worker: Row[Any]) -> LaunchDecision | None:
    """The answer to a request that has been decided before, or whose grant is over; else None."""
    if run is None or run.grant_no != ref.grant or run.incarnation != worker.incarnation:
        return _no(ref, "the grant is over")
    if run.status == Status.LAUNCHING:
        return _yes(ref, run.attempt)
    return (
        None if run.status == Status.CLAIMED else _no(ref, f"the run is {run.status}", lost=run.status == Status.LOST)
    )


class _TooLate:
    reason = "its deadline was over before it could start"


def _ask(room: Room, run: RunRow, now: datetime) -> Answer | _TooLate:
    if run.deadline_at is not None and now > run.deadline_at:
        return _TooLate()
    return Yes() if run.kind == "daemon" else room.at_launch(places.contender(run))


async def _admit(tx: AsyncConnection, admitted: Sequence[RunRow], *, now: datetime) -> list[RunRow]:
    launched = await transition_locked(
        tx, admitted, Status.LAUNCHING, attempt=runs.c.attempt + 1, reason=None, waits_for=None, let_go_at=None
    )
    if launched:
        await lock(tx, attempts.c.run_id.in_([run.id for run in launched]))
        await tx.execute(
            update(attempts)
            .where(attempts.c.run_id == runs.c.id, attempts.c.grant_no == runs.c.grant_no)
            .where(runs.c.id.in_([run.id for run in launched]))
            .values(attempt=runs.c.attempt, status="LAUNCHING", launching_at=now)
        )
    return launched


async def _refuse(
    tx: AsyncConnection, ref: RunRef, run: RunRow, answer: Skip | Wait | _TooLate, *, now: datetime, offers_prefix: str
) -> LaunchDecision:
    """Writes down why a run may not start. Before it is due, a place may still become free: it is to ask again."""
    match answer:
        case _TooLate():
            status = Status.MISSED if run.attempt == 0 else Status.FAILED
            await give_up(tx, run, status, reason=answer.reason, now=now, offers_prefix=offers_prefix)
        case _ if now + _TOLERANCE < run.fire_at:
            return LaunchDecision(run_id=ref.run_id, grant=ref.grant, ok=False, retry_at_due=True, reason=answer.reason)
        case Wait():
            await park(tx, run, answer, now=now, offers_prefix=offers_prefix)
        case Skip():
            await give_up(tx, run, Status.SKIPPED, reason=answer.reason, now=now, offers_prefix=offers_prefix)
    return _no(ref, answer.reason)


def _yes(ref: RunRef, attempt: int) -> LaunchDecision:
    return LaunchDecision(run_id=ref.run_id, grant=ref.grant, ok=True, attempt=attempt)


def _no(ref: RunRef, reason: str, *, lost: bool = False) -> LaunchDecision:
    return LaunchDecision(run_id=ref.run_id, grant=ref.grant, ok=False, reason=reason, lost=lost)
