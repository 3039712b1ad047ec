"""Backfills: runs for past due times, made and let go a few at a time.

The leader *makes* rows, in order, a little ahead of what may start; whoever sees a place become free *lets go* the next
ones. A row that was made is `held`: nobody claims it. `position` moves in the transaction that inserts the rows, and a
run's id follows from the backfill and the due time, so that a leader's death loses and doubles nothing.

Among its own runs a backfill's concurrency stands in for the overlap policy. They neither take nor ask for the overlap
place of their context, so that no live due time is skipped for the sake of the past; limits hold for them as for all.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Row, Table, case, func, select, update

from kirby_common.ledger import contexts, ids
from kirby_common.ledger.backfill_times import Stretch
from kirby_common.ledger.contexts import ContextView, schedule_of
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.outbox import Transaction, Tx, put_all
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.runs import NewRun, amend, insert_runs, offer, runs
from kirby_common.ledger.tables import Backfill
from kirby_common.ledger.transitions import OCCUPYING, Status

Existing = Literal["leave", "failed", "anew"]
BackfillRow = Row[Any]

AHEAD = 20
"""So many held rows lie ready, beyond those that may start: short runs need not wait for the leader's next look."""

HELD = "HELD"
_LOOK = 200
backfills: Table = Backfill.__table__  # type: ignore[assignment]

NEVER_STARTED = frozenset({Status.MISSED, Status.SKIPPED, Status.CANCELLED})
FAILED = frozenset({Status.FAILED, Status.KILLED, Status.LOST})


def left_alone(existing: Existing, statuses: Collection[str]) -> bool:
    """Whether a due time that has runs with these statuses is left as it is.

    leave: one that was ever started or still will be; failed: unless all its runs failed; anew: none.
    """
    done_with = {"leave": NEVER_STARTED, "failed": NEVER_STARTED | FAILED, "anew": frozenset(Status)}[existing]
    return any(status not in done_with for status in statuses)


@dataclass(frozen=True)
class RunThere:
    """A run that a due time has already."""

    id: UUID
    status: str


async def runs_at(tx: Tx, context_id: UUID, instants: Sequence[datetime]) -> dict[datetime, list[RunThere]]:
    """The runs that the context has for each of these due times (from the first to the last of them), oldest first."""
    if not instants:
        return {}
    statement = (
        select(runs.c.due_at, runs.c.id, runs.c.status)
        .where(
            runs.c.context_id == context_id,
            runs.c.due_at.between(min(instants), max(instants)),
            runs.c.kind.in_(["schedule", "backfill"]),
        )
        .order_by(runs.c.created_at)
    )
    found: dict[datetime, list[RunThere]] = {}
    for due_at, run_id, status in await tx.execute(statement):
        found.setdefault(due_at, []).append(RunThere(run_id, status))
    return found


def stretch_of(row: BackfillRow) -> Stretch:
    """Raises ValueError when its schedules can't be read."""
    return Stretch([schedule_of(s) for s in row.schedules], row.range_from, row.range_to)


async def open_ids(tx: Tx) -> Sequence[UUID]:
    """The backfills that go on, the oldest first."""
    statement = select(backfills.c.id).where(backfills.c.state == "running").order_by(backfills.c.created_at)
    return (await tx.execute(statement)).scalars().all()


@dataclass(frozen=True)
class Advance:
    """`more`: there is at once more to do. `changed`: something was written that has to be told."""

    changed: bool = False
    more: bool = False


async def advance(tx: Tx, backfill_id: UUID, *, offers_prefix: str) -> Advance:
    """The leader's step: makes rows ahead, lets go what may start, ends the backfill when all has ended."""
    row = await _taken(tx, backfill_id)
    if row is None:
        return Advance()
    found = await contexts.load(tx, [row.context_id])
    now = await database_now(tx)
    if not found:
        reason = f"{row.job} is no longer in {row.env}"
        await _write(tx, row, state="cancelled", reason=reason, ended_at=now)
        return Advance()
    context = found[0]
    live, held = await _counted(tx, row)
    wanted = max(row.concurrency - live, 0) + AHEAD - held
    made, row = await _make(tx, row, context, most=wanted, now=now, offers_prefix=offers_prefix)
    gone = await _let_go(tx, row, context, free=row.concurrency - live, now=now, offers_prefix=offers_prefix)
    if row.exhausted and live + held + made == 0:
        await _write(tx, row, state="done", reason=None, ended_at=now)
    return Advance(changed=made + gone > 0, more=made < wanted and not row.exhausted)


async def let_all_go(transaction: Transaction, *, offers_prefix: str) -> int:
    """Lets go what may start of every backfill; returns how many runs. For those who have seen a run end."""
    async with transaction() as tx:
        going_on = await open_ids(tx)
    total = 0
    for backfill_id in going_on:
        async with transaction() as tx:
            total += await let_go(tx, backfill_id, offers_prefix=offers_prefix)
    return total


async def let_go(tx: Tx, backfill_id: UUID, *, offers_prefix: str) -> int:
    """Lets go as many held runs as there are places; returns how many."""
    row = await _taken(tx, backfill_id)
    if row is None:
        return 0
    found = await contexts.load(tx, [row.context_id])
    if not found:
        return 0
    live, _ = await _counted(tx, row)
    now = await database_now(tx)
    return await _let_go(tx, row, found[0], free=row.concurrency - live, now=now, offers_prefix=offers_prefix)


async def _taken(tx: Tx, backfill_id: UUID) -> BackfillRow | None:
    """The backfill, locked, if it goes on and nobody else is at it."""
    mine = select(backfills).where(backfills.c.id == backfill_id, backfills.c.state == "running")
    return (await tx.execute(mine.with_for_update(skip_locked=True))).one_or_none()


async def _counted(tx: Tx, row: BackfillRow) -> tuple[int, int]:
    """How many of its runs have a place, and how many are held."""
    waiting = runs.c.status.in_([Status.PENDING, Status.CLAIMED, *OCCUPYING])
    lost = (runs.c.status == Status.LOST) & runs.c.unfenced
    statement = select(func.count().filter(~runs.c.held), func.count().filter(runs.c.held)).where(
        runs.c.context_id == row.context_id, runs.c.backfill_id == row.id, waiting | lost
    )
    live, held = (await tx.execute(statement)).one()
    return live, held


async def _make(
    tx: Tx, row: BackfillRow, context: ContextView, *, most: int, now: datetime, offers_prefix: str
) -> tuple[int, BackfillRow]:
    """Inserts up to `most` held rows for the next due times; returns how many, and the backfill as it is then."""
    if most <= 0 or row.exhausted:
        return 0, row
    look = max(most, _LOOK)
    instants = stretch_of(row).following(row.position, newest_first=row.newest_first, most=look)
    there = await runs_at(tx, row.context_id, instants)
    chosen: list[datetime] = []
    position, left, seen = row.position, 0, 0
    for at in instants:
        if len(chosen) == most:
            break
        position, seen = at, seen + 1
        if left_alone(row.existing, [run.status for run in there.get(at, ())]):
            left += 1
        else:
            chosen.append(at)
    new = [_new_run(row, context, at, now=now) for at in chosen]
    await insert_runs(tx, new, offers_prefix=offers_prefix)
    changes = {"made": row.made + len(new), "left_alone": row.left_alone + left, "position": position}
    return len(new), await _write(tx, row, exhausted=len(instants) < look and seen == len(instants), **changes)


def _new_run(row: BackfillRow, context: ContextView, at: datetime, *, now: datetime) -> NewRun:
    key = ids.backfill_key(row.id, at)
    return NewRun(
        id=ids.run_id(context.id, "backfill", key), kind="backfill", key=key, context=context, due_at=at, fire_at=now,
        rerun=row.rerun, requested_by=row.requested_by, backfill_id=row.id,
        policies=context.policies.model_copy(update={"overlap": "allow"}),
    )  # fmt: skip


async def _let_go(
    tx: Tx, row: BackfillRow, context: ContextView, *, free: int, now: datetime, offers_prefix: str
) -> int:
    reason = waits_for(context)
    if reason != row.reason:
        await _write(tx, row, reason=reason)
    if free <= 0 or reason is not None:
        return 0
    order = runs.c.due_at.desc() if row.newest_first else runs.c.due_at
    next_ones = (
        select(runs)
        .where(
            runs.c.context_id == row.context_id,
            runs.c.backfill_id == row.id,
            runs.c.status == Status.PENDING,
            runs.c.held,
        )
        .order_by(order)
        .limit(free)
        .with_for_update(skip_locked=True)
    )
    going = (await tx.execute(next_ones)).all()
    for index, run in enumerate(going):
        # Claims go by this time: those that are let go together are claimed in the backfill's order.
        at = now + index * timedelta(microseconds=1)
        deadline = at + Policies.model_validate(run.policies).start_deadline
        gone = await amend(tx, run, held=False, fire_at=at, startable_at=at, deadline_at=deadline)
        await put_all(tx, [offer(gone, daemon=False, offers_prefix=offers_prefix)])
    return len(going)


def waits_for(context: ContextView) -> str | None:
    """Why none of its runs may start now; a pause of the past is no obstacle, one of now is."""
    if context.lock_status != "ready":
        return f"waits: {context.lock_error or 'its version is being resolved'}"
    paused = context.rules.paused
    return None if paused is None else f"waits: {paused}"


async def _write(tx: Tx, row: BackfillRow, **changes: Any) -> BackfillRow:
    statement = update(backfills).where(backfills.c.id == row.id).values(**changes).returning(*backfills.c)
    return (await tx.execute(statement)).one()


async def counts(tx: Tx, backfill_ids: Collection[UUID]) -> Mapping[UUID, Mapping[str, int]]:
    """How many runs of each backfill have which status; those that it has not let go are `HELD`."""
    status = case((runs.c.held & (runs.c.status == Status.PENDING), HELD), else_=runs.c.status)
    statement = (
        select(runs.c.backfill_id, status, func.count())
        .where(runs.c.backfill_id.in_(backfill_ids))
        .group_by(runs.c.backfill_id, status)
    )
    found: dict[UUID, dict[str, int]] = {id_: {} for id_ in backfill_ids}
    for backfill_id, name, number in await tx.execute(statement):
        found[backfill_id][name] = number
    return found
