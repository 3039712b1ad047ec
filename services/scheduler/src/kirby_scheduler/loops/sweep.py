"""The sweeper: retries whose wait is over, deadlines that have passed, places that lost runs still hold."""

from collections.abc import Sequence
from datetime import timedelta

from kirby_common.ledger import attempts
from kirby_common.ledger.attempts import NO_HOLDER
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.outbox import put_all
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.runs import RunRow, offer, runs, transition
from kirby_common.ledger.successors import follow
from kirby_common.ledger.transitions import Status
from kirby_common.ledger.waiting import let_all_go
from sqlalchemy import ColumnElement, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from kirby_scheduler.term import Term

_AHEAD = timedelta(seconds=6)
_UNFENCED_FOR = timedelta(hours=24)
_BATCH = 500
_SOMETHING_TO_DO = text(
    "SELECT EXISTS (SELECT 1 FROM runs WHERE"
    " (status = 'RETRYING' AND startable_at <= clock_timestamp() + CAST(:ahead AS interval))"
    " OR (status IN ('PENDING', 'CLAIMED') AND deadline_at < clock_timestamp())"
    " OR (status = 'LOST' AND unfenced AND (ended_at < clock_timestamp() - CAST(:unfenced_for AS interval)"
    "     OR policies ->> 'timeout' IS NOT NULL)))"
)


async def sweep(term: Term, *, offers_prefix: str) -> int:
    """One pass; returns how many runs it changed. Raises `Deposed`."""
    changed = 0
    async with term.engine.connect() as tx:
        anything = (await tx.execute(_SOMETHING_TO_DO, {"ahead": _AHEAD, "unfenced_for": _UNFENCED_FOR})).scalar_one()
    if anything:
        async with term.transaction() as tx:
            changed = await _retry(tx, offers_prefix=offers_prefix)
            changed += await _give_up(tx, offers_prefix=offers_prefix)
            changed += await _free_places(tx)
    return changed + await let_all_go(term.transaction, offers_prefix=offers_prefix)


async def _some(tx: AsyncConnection, where: ColumnElement[bool]) -> Sequence[RunRow]:
    statement = select(runs).where(where).order_by(runs.c.id).limit(_BATCH).with_for_update(skip_locked=True)
    return (await tx.execute(statement)).all()


async def _retry(tx: AsyncConnection, *, offers_prefix: str) -> int:
    now = await database_now(tx)
    waiting = await _some(tx, (runs.c.status == Status.RETRYING) & (runs.c.startable_at <= now + _AHEAD))
    for run in waiting:
        pending = await transition(tx, run, Status.PENDING)
        await put_all(tx, [offer(pending, daemon=False, offers_prefix=offers_prefix)])
    return len(waiting)


async def _give_up(tx: AsyncConnection, *, offers_prefix: str) -> int:
    """Rows whose deadline is over and that nobody has started."""
    now = await database_now(tx)
    late = await _some(tx, runs.c.status.in_([Status.PENDING, Status.CLAIMED]) & (runs.c.deadline_at < now))
    ended = []
    for run in late:
        reason = "not started before its deadline" + (f": {run.reason}" if run.reason else "")
        if run.status == Status.CLAIMED:
            await attempts.close(tx, run, status="REVOKED", reason=reason, at=now)
        to = Status.MISSED if run.attempt == 0 else Status.FAILED  # Lost in LAUNCHING, it may have started.
        ended.append(await transition(tx, run, to, reason=reason, ended_at=now, **NO_HOLDER))
    await follow(tx, ended, offers_prefix=offers_prefix)
    return len(late)


async def _free_places(tx: AsyncConnection) -> int:
    """A lost run whose end nobody has seen holds its places for as long as it may run: its timeout, else a day."""
    now = await database_now(tx)
    held = await _some(tx, (runs.c.status == Status.LOST) & runs.c.unfenced)
    freed = 0
    for run in held:
        longest = Policies.model_validate(run.policies).timeout or _UNFENCED_FOR
        if run.ended_at < now - longest:
            await tx.execute(update(runs).where(runs.c.id == run.id, runs.c.rev == run.rev).values(unfenced=False))
            freed += 1
    return freed
