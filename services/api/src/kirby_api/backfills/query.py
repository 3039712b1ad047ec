"""Reading backfills: one, or a page of those that the caller may see, newest first."""

from collections.abc import Sequence
from uuid import UUID

from kirby_common.ledger.backfills import BackfillRow, backfills, counts
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller
from kirby_api.access.visible import readable
from kirby_api.backfills.view import BackfillView, backfill_view
from kirby_api.paging import cut, encode_cursor, newest_first
from kirby_api.problems import NotFound


async def find_backfill(db: AsyncSession, backfill_id: UUID) -> BackfillRow:
    """Raises `NotFound`."""
    row = (await db.execute(select(backfills).where(backfills.c.id == backfill_id))).one_or_none()
    if row is None:
        raise NotFound(f"there is no backfill {backfill_id}")
    return row


async def shown(db: AsyncSession, row: BackfillRow, *, running: Sequence[UUID] = ()) -> BackfillView:
    """The backfill with its progress."""
    return backfill_view(row, (await counts(db, [row.id]))[row.id], running=running)


async def page_of_backfills(
    db: AsyncSession, caller: Caller, *, job: str | None, env: str | None, state: str | None, limit: int,
    cursor: str | None,
) -> tuple[list[BackfillView], str | None]:  # fmt: skip
    query = select(backfills).where(readable(caller, env=backfills.c.env, namespace=backfills.c.namespace))
    for column, value in ((backfills.c.job, job), (backfills.c.env, env), (backfills.c.state, state)):
        if value is not None:
            query = query.where(column == value)
    query = newest_first(query, backfills.c.created_at, backfills.c.id, limit=limit, cursor=cursor)
    rows, more = cut((await db.execute(query)).all(), limit)
    numbers = await counts(db, [row.id for row in rows])
    following = encode_cursor(rows[-1].created_at.isoformat(), str(rows[-1].id)) if more else None
    return [backfill_view(row, numbers[row.id]) for row in rows], following
