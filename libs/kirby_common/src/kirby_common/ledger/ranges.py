"""Range rows: one row for many due times that were not run for one reason; it grows while that goes on."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby, takewhile
from uuid import UUID

from sqlalchemy import exists, select

from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.runs import NewRun, RunRow, amend, runs
from kirby_common.ledger.transitions import Status


async def extend_ranges(tx: Tx, new: Sequence[NewRun]) -> list[NewRun]:
    """Lets the range rows of what goes on grow; returns what is still to be inserted.

    The rows of a context lie together in `new`, in order.
    """
    left: list[NewRun] = []
    for _, rows in groupby(new, key=lambda run: run.context.id):
        left += await _extend(tx, list(rows))
    return left


async def _extend(tx: Tx, rows: Sequence[NewRun]) -> Sequence[NewRun]:
    """Without those at the beginning that the context's last range row has taken in."""
    first = rows[0]
    if not _joins(first):
        return rows
    last = await _last_range(tx, first)
    if last is None or (last.status, last.reason) != (first.status, first.reason):
        return rows
    same = list(takewhile(lambda run: _joins(run) and (run.status, run.reason) == (first.status, first.reason), rows))
    range_to = same[-1].range_to or same[-1].due_at
    await amend(tx, last, range_to=range_to, range_count=last.range_count + sum(run.range_count or 1 for run in same))
    return rows[len(same) :]


def _joins(run: NewRun) -> bool:
    """Whether a range row may take it in: what a pause skips ahead of now stays a row by itself."""
    return run.kind == "range" or run.status is Status.MISSED


async def _last_range(tx: Tx, run: NewRun) -> RunRow | None:
    """The range row that ends before the run's due time, if no other due time lies between."""
    statement = (
        select(runs)
        .where(runs.c.context_id == run.context.id, runs.c.kind == "range")
        .order_by(runs.c.range_to.desc())
        .limit(1)
        .with_for_update()
    )
    last = (await tx.execute(statement)).one_or_none()
    if last is None or run.due_at is None or last.range_to >= run.due_at:
        return None
    between = exists().where(
        runs.c.context_id == run.context.id,
        runs.c.kind == "schedule",
        runs.c.fire_at > last.range_to,
        runs.c.due_at > last.range_to,
    )
    return None if (await tx.execute(select(between))).scalar_one() else last


async def ranges_beyond(tx: Tx, context_id: UUID, now: datetime) -> list[tuple[datetime, datetime]]:
    """The first and last due times of range rows that reach beyond now: a clock that was set back leaves some."""
    statement = select(runs.c.due_at, runs.c.range_to).where(
        runs.c.context_id == context_id, runs.c.kind == "range", runs.c.range_to > now
    )
    return [(row.due_at, row.range_to) for row in await tx.execute(statement)]
