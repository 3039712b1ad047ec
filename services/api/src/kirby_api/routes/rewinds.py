"""Rewinds: preview, start, look, pause, resume, cancel, throttle."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from kirby_common.ledger import rewinds, triggers
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.gate import Operator, Parts, Reader
from kirby_api.access.permissions import Caller, Permission, Place
from kirby_api.paging import Cursor, Limit, Page
from kirby_api.problems import Conflict
from kirby_api.resources import Resources
from kirby_api.rewinds import sensors
from kirby_api.rewinds.planning import plan
from kirby_api.rewinds.query import find_rewind, page_of_rewinds
from kirby_api.rewinds.view import (
    NewRewind,
    RewindOrder,
    RewindPreviews,
    Rewinds,
    RewindView,
    Throttle,
    rewind_view,
)
from kirby_api.routes.documents import PROBLEMS
from kirby_api.routes.idempotent import IdempotentRoute

router = APIRouter(tags=["rewinds"], responses=PROBLEMS, route_class=IdempotentRoute)


@router.get("/rewinds", summary="Rewinds, newest first")
async def list_rewinds(
    parts: Parts,
    caller: Reader,
    job: str | None = None,
    env: str | None = None,
    state: Annotated[str | None, Query(description="draining, running, paused, done, cancelled or failed")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[RewindView]:
    async with parts.sessions() as db:
        items, following = await page_of_rewinds(db, caller, job=job, env=env, state=state, limit=limit, cursor=cursor)
    return Page(items=items, next=following)


@router.post("/rewinds/preview", name="preview_rewind", summary="What a rewind would process again, and touch")
async def preview_rewind(form: NewRewind, parts: Parts, caller: Operator) -> RewindPreviews:
    async with parts.sessions() as db:
        planned = await plan(db, parts.groups_of, form, caller)
        if planned:
            return RewindPreviews(items=[one.preview() for one in planned])
        backfill = await sensors.planned(db, form, caller, most=parts.settings.kirby_backfill_max)
        return RewindPreviews(items=[], backfill=await backfill.preview(db))


@router.post("/rewinds", status_code=201, summary="Process stored messages again")
async def create_rewind(form: NewRewind, parts: Parts, caller: Operator) -> Rewinds:
    """In place: of each daemon that the target stands for the replicas drain, its group moves back, and they start
    again. The due times of a scheduled job run again as a backfill. All of it is flagged as a re-run.
    """
    async with parts.sessions.begin() as db:
        planned = await plan(db, parts.groups_of, form, caller)
        if not planned:
            most = parts.settings.kirby_backfill_max
            return Rewinds(items=[], backfill=await sensors.start(db, form, caller, most=most))
        try:
            rows = [await rewinds.start(db, one.wanted, by=caller.name) for one in planned]
        except triggers.Conflict as error:
            raise Conflict(str(error), state=error.status) from error
        return Rewinds(items=[rewind_view(row) for row in rows])


@router.get("/rewinds/{rewind_id}", summary="One rewind with its progress")
async def get_rewind(rewind_id: UUID, parts: Parts, caller: Reader) -> RewindView:
    async with parts.sessions() as db:
        row = await find_rewind(db, rewind_id)
        caller.require(Permission.READ, Place(env=row.env, namespace=row.namespace))
        return rewind_view(row)


@router.post("/rewinds/{rewind_id}/pause", summary="Drain its replicas, and keep them down until it is resumed")
async def pause_rewind(rewind_id: UUID, parts: Parts, caller: Operator, form: RewindOrder | None = None) -> RewindView:
    """Live messages wait meanwhile."""
    async with _ordering(parts, rewind_id, caller) as db:
        reason = form.reason if form else None
        return rewind_view(await rewinds.pause(db, rewind_id, by=caller.name, reason=reason))


@router.post("/rewinds/{rewind_id}/resume", summary="Go on with a paused rewind")
async def resume_rewind(rewind_id: UUID, parts: Parts, caller: Operator) -> RewindView:
    async with _ordering(parts, rewind_id, caller) as db:
        return rewind_view(await rewinds.resume(db, rewind_id, by=caller.name))


@router.post("/rewinds/{rewind_id}/cancel", summary="Go on live where the group was before")
async def cancel_rewind(rewind_id: UUID, parts: Parts, caller: Operator, form: RewindOrder | None = None) -> RewindView:
    async with _ordering(parts, rewind_id, caller) as db:
        reason = form.reason if form else None
        return rewind_view(await rewinds.cancel(db, rewind_id, by=caller.name, reason=reason))


@router.post("/rewinds/{rewind_id}/throttle", summary="Change how many messages a second it may process")
async def throttle_rewind(rewind_id: UUID, form: Throttle, parts: Parts, caller: Operator) -> RewindView:
    """The replicas of one that runs drain and start again for that."""
    async with _ordering(parts, rewind_id, caller) as db:
        return rewind_view(await rewinds.throttle(db, rewind_id, rate=form.rate, by=caller.name))


@asynccontextmanager
async def _ordering(parts: Resources, rewind_id: UUID, caller: Caller) -> AsyncIterator[AsyncSession]:
    """A transaction for one order. Raises `NotFound`, `Forbidden`, `Conflict`."""
    async with parts.sessions.begin() as db:
        row = await find_rewind(db, rewind_id)
        caller.require(Permission.OPERATE, Place(env=row.env, namespace=row.namespace))
        try:
            yield db
        except triggers.Conflict as error:
            raise Conflict(str(error), state=error.status) from error
