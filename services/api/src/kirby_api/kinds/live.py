"""What may not be changed or removed while something of it is alive."""

from collections.abc import Sequence
from uuid import UUID

from kirby_common.ledger import attempts
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.runs import runs, transition
from kirby_common.ledger.tables import Context, DaemonSlot, Run
from kirby_common.ledger.transitions import STARTED, Status
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.changes import Change
from kirby_api.problems import Conflict

_WAITING = (Status.PENDING, Status.CLAIMED)


async def require_no_live_runs(db: AsyncSession, contexts: ColumnElement[bool], *, doing: str) -> list[UUID]:
    """The ids of the contexts. Raises `Conflict` naming a daemon or run that lives, or one that someone asked for.

    Due times that only wait are no obstacle.
    """
    ids = list(await db.scalars(select(Context.id).where(contexts)))
    run = (
        await db.execute(
            select(Run.id, Run.status, Run.env)
            .where(Run.context_id.in_(ids))
            .where(Run.status.in_([*STARTED, Status.RETRYING]) | (Run.status.in_(_WAITING) & (Run.kind != "schedule")))
            .limit(1)
        )
    ).one_or_none()
    if run is not None:
        raise Conflict(f"can't {doing} now: run {run.id} in {run.env} is {run.status}; wait for it or kill it")
    slot = await db.scalar(
        select(DaemonSlot.state).where(DaemonSlot.context_id.in_(ids), DaemonSlot.state != "DOWN").limit(1)
    )
    if slot is not None:
        raise Conflict(f"can't {doing} now: its daemon is {slot}; disable it and wait until it is down")
    return ids


async def take_back_due_times(change: Change, contexts: Sequence[UUID], *, reason: str) -> None:
    """The due times that wait are SKIPPED, with who and why."""
    db = change.session
    rows = (
        await db.execute(
            select(runs)
            .where(runs.c.context_id.in_(contexts), runs.c.status.in_(_WAITING), runs.c.kind == "schedule")
            .order_by(runs.c.id)
            .with_for_update()
        )
    ).all()
    now = await database_now(db)
    for row in rows:
        if row.status == Status.CLAIMED:
            await attempts.close(db, row, status="REVOKED", reason=reason, at=now)
        await transition(db, row, Status.SKIPPED, reason=f"{reason} by {change.author}", **attempts.NO_HOLDER)
