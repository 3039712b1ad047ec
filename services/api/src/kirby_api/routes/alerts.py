"""Missed marks: what should be and is not, now and earlier."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from kirby_common.ledger.alerts import AlertKind
from kirby_common.ledger.tables import Alert
from pydantic import BaseModel
from sqlalchemy import or_, select

from kirby_api.access.gate import Parts, Reader
from kirby_api.access.visible import readable_context
from kirby_api.paging import Cursor, Limit, Page, cut, encode_cursor, newest_first
from kirby_api.routes.documents import PROBLEMS

router = APIRouter(tags=["alerts"], responses=PROBLEMS)


class AlertView(BaseModel):
    """`closed_at` is null while it lasts. `subject` names what it is about, such as `daemon/weather@prod`."""

    id: UUID
    kind: str
    subject: str
    reason: str
    env: str | None
    job: str | None
    run_id: UUID | None
    detail: dict[str, Any]
    opened_at: datetime
    told_at: datetime
    closed_at: datetime | None


@router.get("/alerts", summary="Missed marks, newest first")
async def list_alerts(
    parts: Parts,
    caller: Reader,
    state: Annotated[
        Literal["open", "closed", "all"], Query(description="those that last, those that are over")
    ] = "open",
    kind: Annotated[AlertKind | None, Query(description="only of this kind")] = None,
    job: str | None = None,
    env: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AlertView]:
    seen = or_(Alert.context_id.is_(None), readable_context(caller, Alert.context_id))
    query = select(Alert).where(Alert.told_at.is_not(None), seen)
    if state != "all":
        query = query.where(Alert.closed_at.is_(None) if state == "open" else Alert.closed_at.is_not(None))
    for column, value in ((Alert.kind, kind), (Alert.job, job), (Alert.env, env)):
        if value is not None:
            query = query.where(column == value)
    query = newest_first(query, Alert.opened_at, Alert.id, limit=limit, cursor=cursor)
    async with parts.sessions() as db:
        rows, more = cut((await db.scalars(query)).all(), limit)
    following = encode_cursor(rows[-1].opened_at.isoformat(), str(rows[-1].id)) if more else None
    return Page(items=[AlertView.model_validate(row, from_attributes=True) for row in rows], next=following)
