"""Reading rewinds: one, or a page of those that the caller may see, newest first."""

from uuid import UUID

from kirby_common.ledger.rewinds import RewindRow, read, rewinds
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller
from kirby_api.access.visible import readable
from kirby_api.paging import cut, encode_cursor, newest_first
from kirby_api.problems import NotFound
from kirby_api.rewinds.view import RewindView, rewind_view


async def find_rewind(db: AsyncSession, rewind_id: UUID) -> RewindRow:
    """Raises `NotFound`."""
    row = await read(db, rewind_id)
    if row is None:
        raise NotFound(f"there is no rewind {rewind_id}")
    return row


async def page_of_rewinds(
    db: AsyncSession, caller: Caller, *, job: str | None, env: str | None, state: str | None, limit: int,
    cursor: str | None,
) -> tuple[list[RewindView], str | None]:  # fmt: skip
    query = select(rewinds).where(readable(caller, env=rewinds.c.env, namespace=rewinds.c.namespace))
    for column, value in ((rewinds.c.job, job), (rewinds.c.env, env), (rewinds.c.state, state)):
        if value is not None:
            query = query.where(column == value)
    query = newest_first(query, rewinds.c.created_at, rewinds.c.id, limit=limit, cursor=cursor)
    rows, more = cut((await db.execute(query)).all(), limit)
    following = encode_cursor(rows[-1].created_at.isoformat(), str(rows[-1].id)) if more else None
    return [rewind_view(row) for row in rows], following
