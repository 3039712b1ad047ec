"""Rewinds: preview, start, look, pause, resume, cancel, throttle; and of those in shadow compare, promote, drop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from kirby_common.ledger import rewinds, shadows, triggers
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.gate import Operator, OperatorOrRun, Parts, Reader
from kirby_api.access.permissions import Caller, Permission, Place
from kirby_api.paging import Cursor, Limit, Page
from kirby_api.problems import Conflict
from kirby_api.resources import Resources
from kirby_api.rewinds import sensors
from kirby_api.rewinds.planning import plan
from kirby_api.rewinds.query import find_rewind, page_of_rewinds
from kirby_api.rewinds.shadows import processes, require_own_run
from kirby_api.rewinds.view import (
    AskedProcesses,
    Comparison,
    NewRewind,
    RewindOrder,
    RewindPreviews,
    Rewinds,
    RewindView,
    Throttle,
    ToldProcesses,
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
    state: Annotated[str | None, Query(description="such as running, ready, done or failed")] = None,
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
    again. In shadow: a run of the same script reads by a group of its own, and writes to topics and States of its own.
    The due times of a scheduled job run again as a backfill. All of it is flagged as a re-run.
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


@router.post("/rewinds/{rewind_id}/compare", summary="Compare what a rewind in shadow made with the originals anew")
async def compare_rewind(rewind_id: UUID, parts: Parts, caller: Operator) -> RewindView:
    """It was compared when it had come to its end; the result is part of the rewind."""
    async with _ordering(parts, rewind_id, caller) as db:
        return rewind_view(await shadows.compare(db, rewind_id, by=caller.name))


@router.post("/rewinds/{rewind_id}/promote", summary="Make what a rewind in shadow made part of the originals")
async def promote_rewind(rewind_id: UUID, parts: Parts, caller: Operator) -> RewindView:
    """Its messages are appended to the original topics, flagged as a re-run, and what it set in States becomes new
    versions; then it is dropped.
    """
    async with _ordering(parts, rewind_id, caller) as db:
        return rewind_view(await shadows.promote(db, rewind_id, by=caller.name))


@router.post("/rewinds/{rewind_id}/drop", summary="Delete what a rewind in shadow made")
async def drop_rewind(rewind_id: UUID, parts: Parts, caller: Operator) -> RewindView:
    async with _ordering(parts, rewind_id, caller) as db:
        return rewind_view(await shadows.drop(db, rewind_id, by=caller.name))


@router.put("/rewinds/{rewind_id}/comparison", status_code=204, summary="A rewind's own run tells what it has found")
async def put_comparison(rewind_id: UUID, form: Comparison, parts: Parts, caller: OperatorOrRun) -> None:
    async with parts.sessions.begin() as db:
        run_id = require_own_run(await find_rewind(db, rewind_id), caller)
        await shadows.compared(db, rewind_id, form.model_dump(mode="json"), run_id=run_id)


@router.post("/rewinds/{rewind_id}/processes", summary="A rewind's own run asks who wrote messages")
async def tell_processes(
    rewind_id: UUID, form: AskedProcesses, parts: Parts, caller: OperatorOrRun
) -> ToldProcesses:  # fmt: skip
    async with parts.sessions() as db:
        require_own_run(await find_rewind(db, rewind_id), caller)
        return ToldProcesses(items=await processes(db, form.processes))


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
