"""What people ask of backfills: start, pause, resume, cancel."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, select, update

from kirby_common.ledger import attempts
from kirby_common.ledger.backfill_times import Stretch
from kirby_common.ledger.backfills import BackfillRow, Existing, backfills
from kirby_common.ledger.contexts import ContextView
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.outbox import Tx, put_all
from kirby_common.ledger.runs import RunRow, amend, offer, runs, transition
from kirby_common.ledger.transitions import STARTED, Status
from kirby_common.ledger.triggers import Conflict, NotTriggerable, runnable
from kirby_common.ledger.waiting import give_up

_OPEN = ("running", "paused")


class BadRange(ValueError):
    """There is nothing past in the range; the text is a sentence for the user."""


class NoSuchBackfill(LookupError):
    """There is no backfill with this id."""


@dataclass(frozen=True)
class WantedBackfill:
    """The due times of a context in [start, end), and how they are to be run."""

    context_id: UUID
    start: datetime
    end: datetime
    newest_first: bool = False
    existing: Existing = "leave"
    rerun: bool = False
    concurrency: int = 1


@dataclass(frozen=True)
class Ordered:
    """The backfill after the order; `running` are its runs that go on all the same."""

    row: BackfillRow
    running: Sequence[UUID] = ()


async def planned(tx: Tx, wanted: WantedBackfill, *, now: datetime) -> tuple[ContextView, Stretch]:
    """The context and its due times. Raises `BadRange`, `NotTriggerable`."""
    context = await runnable(tx, wanted.context_id)
    where = f"{context.job} in {context.env}"
    if wanted.start >= wanted.end:
        raise BadRange("the range is empty: it has to begin before it ends")
    if wanted.end > now:
        raise BadRange("the range ends in the future; a backfill runs what is past, the schedule does the rest")
    if not context.rules.schedules:
        raise NotTriggerable(f"{where} has no schedule, so nothing was ever due; `kirby trigger` runs it once")
    return context, Stretch(context.rules.schedules, wanted.start, wanted.end)


async def start(tx: Tx, wanted: WantedBackfill, context: ContextView, *, total: int, by: str) -> BackfillRow:
    """Writes the backfill down; the leader goes on from there."""
    values = {
        "id": uuid4(), "context_id": context.id, "job": context.job, "env": context.env,
        "namespace": context.namespace, "schedules": context.raw["schedules"], "range_from": wanted.start,
        "range_to": wanted.end, "newest_first": wanted.newest_first, "existing": wanted.existing,
        "rerun": wanted.rerun, "concurrency": wanted.concurrency, "total": total, "requested_by": by,
    }  # fmt: skip
    return (await tx.execute(insert(backfills).values(**values).returning(*backfills.c))).one()


async def pause(tx: Tx, backfill_id: UUID, *, by: str, reason: str | None = None) -> Ordered:
    """No more of its runs start; those that have started go on, with their retries.

    Raises `Conflict`, `NoSuchBackfill`.
    """
    row = await _locked(tx, backfill_id, allowed=("running",), verb="paused")
    why = f"paused by {by}" + (f": {reason}" if reason else "")
    now = await database_now(tx)
    waiting, started = await _parted(tx, row)
    back: dict[str, Any] = {
        "held": True,
        "startable_at": None,
        "deadline_at": None,
        "waits_for": None,
        "let_go_at": None,
    }
    for run in waiting:
        if run.status == Status.CLAIMED:
            await attempts.close(tx, run, status="REVOKED", reason=why, at=now)
            await transition(tx, run, Status.PENDING, **back, **attempts.NO_HOLDER)
        elif run.status == Status.PENDING and not run.held:
            await amend(tx, run, **back)
    return Ordered(await _set(tx, row, state="paused", reason=why, by=by), [run.id for run in started])


async def resume(tx: Tx, backfill_id: UUID, *, by: str) -> Ordered:
    """Raises `Conflict` unless it is paused, `NoSuchBackfill`."""
    row = await _locked(tx, backfill_id, allowed=("paused",), verb="resumed")
    return Ordered(await _set(tx, row, state="running", reason=None, by=by))


async def cancel(
    tx: Tx, backfill_id: UUID, *, by: str, offers_prefix: str, reason: str | None = None, kill: bool = False
) -> Ordered:
    """Its runs that wait are CANCELLED; those that have started go on, or are killed. Raises as `pause`."""
    row = await _locked(tx, backfill_id, allowed=_OPEN, verb="cancelled")
    why = f"backfill cancelled by {by}" + (f": {reason}" if reason else "")
    now = await database_now(tx)
    waiting, started = await _parted(tx, row)
    for run in waiting:
        await give_up(tx, run, Status.CANCELLED, reason=why, now=now, offers_prefix=offers_prefix)
    for run in started if kill else ():
        if run.kill_why is None:
            asked = await amend(tx, run, kill_why="user", kill_by=by, reason=why)
            await put_all(tx, [offer(asked, daemon=False, offers_prefix=offers_prefix)])
    ended = await _set(tx, row, state="cancelled", reason=why, by=by, ended_at=now)
    return Ordered(ended, [run.id for run in started])


async def _locked(tx: Tx, backfill_id: UUID, *, allowed: Sequence[str], verb: str) -> BackfillRow:
    statement = select(backfills).where(backfills.c.id == backfill_id).with_for_update()
    row = (await tx.execute(statement)).one_or_none()
    if row is None:
        raise NoSuchBackfill(f"there is no backfill {backfill_id}")
    if row.state not in allowed:
        raise Conflict(f"backfill {row.id} is {row.state}: it can't be {verb}; nothing was changed", status=row.state)
    return row


async def _parted(tx: Tx, row: BackfillRow) -> tuple[list[RunRow], list[RunRow]]:
    """Its runs that wait, and those that have started, locked."""
    waiting = (Status.PENDING, Status.CLAIMED, Status.RETRYING)
    statement = (
        select(runs)
        .where(runs.c.context_id == row.context_id, runs.c.backfill_id == row.id)
        .where(runs.c.status.in_([*waiting, *STARTED]))
        .order_by(runs.c.id)
        .with_for_update()
    )
    found = (await tx.execute(statement)).all()
    return [r for r in found if r.status in waiting], [r for r in found if r.status in STARTED]


async def _set(
    tx: Tx, row: BackfillRow, *, state: str, reason: str | None, by: str, ended_at: datetime | None = None
) -> BackfillRow:
    changes = {"state": state, "reason": reason, "changed_by": by, "ended_at": ended_at, "rev": row.rev + 1}
    statement = update(backfills).where(backfills.c.id == row.id).values(**changes).returning(*backfills.c)
    return (await tx.execute(statement)).one()
