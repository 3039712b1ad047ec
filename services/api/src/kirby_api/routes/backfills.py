"""Backfills: preview, start, look, pause, resume, cancel."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from kirby_common.ledger import backfill_orders, triggers
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.gate import Operator, Parts, Reader
from kirby_api.access.permissions import Caller, Permission, Place
from kirby_api.backfills.planning import Planned, plan
from kirby_api.backfills.query import find_backfill, page_of_backfills, shown
from kirby_api.backfills.view import BackfillCancel, BackfillPreview, BackfillReason, BackfillView, NewBackfill
from kirby_api.kinds.references import context_named, place_of_context
from kirby_api.paging import Cursor, Limit, Page
from kirby_api.problems import Conflict
from kirby_api.resources import Resources
from kirby_api.routes.documents import PROBLEMS
from kirby_api.routes.idempotent import IdempotentRoute

router = APIRouter(tags=["backfills"], responses=PROBLEMS, route_class=IdempotentRoute)


@router.get("/backfills", summary="Backfills, newest first")
async def list_backfills(
    parts: Parts,
    caller: Reader,
    job: str | None = None,
    env: str | None = None,
    state: Annotated[str | None, Query(description="running, paused, cancelled or done")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[BackfillView]:
    async with parts.sessions() as db:
        items, following = await page_of_backfills(
            db, caller, job=job, env=env, state=state, limit=limit, cursor=cursor
        )
    return Page(items=items, next=following)


@router.post("/backfills/preview", name="preview_backfill", summary="What a backfill would run")
async def preview_backfill(form: NewBackfill, parts: Parts, caller: Operator) -> BackfillPreview:
    """Its due times: how many, the first and the last 50, and which of them have runs already."""
    async with parts.sessions() as db:
        return await (await _planned(db, form, parts, caller)).preview(db)


@router.post("/backfills", status_code=201, summary="Run past due times")
async def create_backfill(form: NewBackfill, parts: Parts, caller: Operator) -> BackfillView:
    async with parts.sessions.begin() as db:
        planned = await _planned(db, form, parts, caller)
        row = await backfill_orders.start(db, planned.wanted, planned.context, total=planned.total, by=caller.name)
        return await shown(db, row)


@router.get("/backfills/{backfill_id}", summary="One backfill with its progress")
async def get_backfill(backfill_id: UUID, parts: Parts, caller: Reader) -> BackfillView:
    async with parts.sessions() as db:
        row = await find_backfill(db, backfill_id)
        caller.require(Permission.READ, Place(env=row.env, namespace=row.namespace))
        return await shown(db, row)


@router.post("/backfills/{backfill_id}/pause", summary="Start no more of its runs until it is resumed")
async def pause_backfill(
    backfill_id: UUID, parts: Parts, caller: Operator, form: BackfillReason | None = None
) -> BackfillView:
    """`running` lists the runs that go on: starting, too late."""
    async with _ordering(parts, backfill_id, caller) as db:
        reason = form.reason if form else None
        ordered = await backfill_orders.pause(db, backfill_id, by=caller.name, reason=reason)
        return await shown(db, ordered.row, running=ordered.running)


@router.post("/backfills/{backfill_id}/resume", summary="Go on with a paused backfill")
async def resume_backfill(backfill_id: UUID, parts: Parts, caller: Operator) -> BackfillView:
    async with _ordering(parts, backfill_id, caller) as db:
        ordered = await backfill_orders.resume(db, backfill_id, by=caller.name)
        return await shown(db, ordered.row)


@router.post("/backfills/{backfill_id}/cancel", summary="Take back what has not started of it")
async def cancel_backfill(
    backfill_id: UUID, parts: Parts, caller: Operator, form: BackfillCancel | None = None
) -> BackfillView:
    """`running` lists the runs that had started: they go on, or are being killed when that was asked for."""
    asked = form or BackfillCancel()
    prefix = parts.settings.kirby_topic_job_offers
    async with _ordering(parts, backfill_id, caller) as db:
        ordered = await backfill_orders.cancel(
            db, backfill_id, by=caller.name, reason=asked.reason, kill=asked.kill, offers_prefix=prefix
        )
        return await shown(db, ordered.row, running=ordered.running)


async def _planned(db: AsyncSession, form: NewBackfill, parts: Resources, caller: Caller) -> Planned:
    context = await context_named(db, form.job, form.env)
    caller.require(Permission.OPERATE, await place_of_context(db, context.id))
    return await plan(db, form, context.id, most=parts.settings.kirby_backfill_max)


@asynccontextmanager
async def _ordering(parts: Resources, backfill_id: UUID, caller: Caller) -> AsyncIterator[AsyncSession]:
    """A transaction for one order. Raises `NotFound`, `Forbidden`, `Conflict`."""
    async with parts.sessions.begin() as db:
        row = await find_backfill(db, backfill_id)
        caller.require(Permission.OPERATE, Place(env=row.env, namespace=row.namespace))
        try:
            yield db
        except triggers.Conflict as error:
            raise Conflict(str(error), state=error.status) from error
    parts.relay.wake()
