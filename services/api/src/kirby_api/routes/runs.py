"""Runs: list, look, trigger, cancel, kill, run again."""

from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Header, Query, Response
from kirby_common.ledger import triggers
from kirby_common.ledger.tables import Attempt
from kirby_common.ledger.transitions import ENDED
from pydantic import AwareDatetime, BaseModel, ConfigDict
from sqlalchemy import select

from kirby_api.access.gate import Operator, Parts, Reader
from kirby_api.access.permissions import Caller, Permission
from kirby_api.kinds.kind import Form
from kirby_api.kinds.names import Argument, EnvironmentName, Labels, Name, Text, VariableName, VariableValue
from kirby_api.kinds.references import context_named, place_of_context
from kirby_api.paging import Cursor, Limit, Page
from kirby_api.problems import Conflict
from kirby_api.resources import Resources
from kirby_api.routes.documents import PROBLEMS
from kirby_api.runs.query import RunFilter, find_run, page_of_runs, place_of, whole_run
from kirby_api.runs.view import RunView
from kirby_api.runs.wait import Wait, wait_for

router = APIRouter(tags=["runs"], responses=PROBLEMS)
IdempotencyKey = Annotated[str | None, Header(description="the same key again gives the same run", max_length=200)]


class NewRun(Form):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"job": "weather", "env": "prod", "args": ["--day", "2026-11-20"]}]}
    )

    job: Name
    env: EnvironmentName
    args: list[Argument] | None = None
    variables: dict[VariableName, VariableValue] = {}
    labels: Labels | None = None


class Reason(Form):
    reason: Text | None = None


class RunEvent(BaseModel):
    """One step in the life of a run, as the ledger has it."""

    at: datetime
    what: str
    grant: int | None = None
    worker: str | None = None
    reason: str | None = None


@router.get("/runs", summary="Runs, newest first")
async def list_runs(
    parts: Parts,
    caller: Reader,
    job: str | None = None,
    env: str | None = None,
    status: Annotated[str | None, Query(description="one or several, joined by commas")] = None,
    kind: Annotated[str | None, Query(description="schedule, manual, daemon, rerun, backfill …")] = None,
    namespace: Annotated[str | None, Query(description="this one and those below it")] = None,
    label: Annotated[str | None, Query(description="key=value")] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    q: Annotated[str | None, Query(description="in job, environment, package, reason; or a run id's start")] = None,
    parent: UUID | None = None,
    backfill: UUID | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[RunView]:
    wanted = RunFilter(job, env, status, kind, namespace, label, since, until, q, parent, backfill)
    async with parts.sessions() as db:
        items, following = await page_of_runs(db, wanted, caller, limit=limit, cursor=cursor)
    return Page(items=items, next=following)


@router.post("/runs", status_code=202, summary="Run a job now", responses={200: {"model": RunView}})
async def trigger_run(
    form: NewRun,
    response: Response,
    parts: Parts,
    caller: Operator,
    wait: Wait = 0,
    idempotency_key: IdempotencyKey = None,
) -> RunView:
    async with parts.sessions.begin() as db:
        context = await context_named(db, form.job, form.env)
        caller.require(Permission.OPERATE, await place_of_context(db, context.id))
        try:
            made = await triggers.trigger(
                db,
                context_id=context.id,
                principal=caller.name,
                key=idempotency_key or str(uuid4()),
                args=form.args,
                variables=form.variables,
                labels=form.labels,
                offers_prefix=parts.settings.kirby_topic_job_offers,
            )
        except triggers.NotTriggerable as error:
            raise Conflict(str(error)) from error
    parts.relay.wake()
    return await _waited(parts, response, made.run_id, wait)


@router.get("/runs/{run_id}", summary="One run with its attempts")
async def get_run(run_id: UUID, response: Response, parts: Parts, caller: Reader, wait: Wait = 0) -> RunView:
    """With `wait`, answers when the run has ended, or with what it is by then."""
    await _require(parts, run_id, caller, Permission.READ)
    response.status_code = 200
    run = await _look(parts, run_id) if not wait else await _waited(parts, response, run_id, wait)
    response.status_code = 200
    response.headers["ETag"] = f'"{run.rev}"'
    return run


@router.post("/runs/{run_id}/cancel", summary="Take back a run that has not started")
async def cancel_run(run_id: UUID, parts: Parts, caller: Operator, form: Reason | None = None) -> RunView:
    await _require(parts, run_id, caller, Permission.OPERATE)
    async with parts.sessions.begin() as db:
        try:
            await triggers.cancel(db, run_id, by=caller.name, reason=form.reason if form else None)
        except triggers.Conflict as error:
            raise Conflict(str(error), run_status=error.status) from error
    parts.relay.wake()
    return await _look(parts, run_id)


@router.post("/runs/{run_id}/kill", status_code=202, summary="End a run, started or not")
async def kill_run(run_id: UUID, parts: Parts, caller: Operator, form: Reason | None = None) -> RunView:
    await _require(parts, run_id, caller, Permission.OPERATE)
    prefix = parts.settings.kirby_topic_job_offers
    async with parts.sessions.begin() as db:
        try:
            reason = form.reason if form else None
            await triggers.kill(db, run_id, by=caller.name, reason=reason, offers_prefix=prefix)
        except triggers.Conflict as error:
            raise Conflict(str(error), run_status=error.status) from error
    parts.relay.wake()
    return await _look(parts, run_id)


@router.post("/runs/{run_id}/rerun", status_code=202, summary="A new run with the same inputs, flagged as re-run")
async def rerun_run(
    run_id: UUID,
    response: Response,
    parts: Parts,
    caller: Operator,
    wait: Wait = 0,
    idempotency_key: IdempotencyKey = None,
) -> RunView:
    await _require(parts, run_id, caller, Permission.OPERATE)
    key = idempotency_key or str(uuid4())
    prefix = parts.settings.kirby_topic_job_offers
    async with parts.sessions.begin() as db:
        try:
            made = await triggers.rerun(db, run_id, principal=caller.name, key=key, offers_prefix=prefix)
        except triggers.NotTriggerable as error:
            raise Conflict(str(error)) from error
    parts.relay.wake()
    return await _waited(parts, response, made.run_id, wait)


@router.get("/runs/{run_id}/events", summary="What happened to a run, in order")
async def list_run_events(run_id: UUID, parts: Parts, caller: Reader) -> Page[RunEvent]:
    async with parts.sessions() as db:
        run = await find_run(db, run_id)
        caller.require(Permission.READ, place_of(run))
        attempts = (await db.scalars(select(Attempt).where(Attempt.run_id == run_id).order_by(Attempt.grant))).all()
    events = [RunEvent(at=run.created_at, what="created", reason=run.requested_by)]
    for a in attempts:
        steps = (("claimed", a.claimed_at), ("launching", a.launching_at), ("started", a.started_at))
        events += [RunEvent(at=at, what=what, grant=a.grant, worker=a.worker) for what, at in steps if at is not None]
        if a.ended_at is not None:
            ended = RunEvent(at=a.ended_at, what=a.status.lower(), grant=a.grant, worker=a.worker, reason=a.reason)
            events.append(ended)
    if run.ended_at is not None:
        events.append(RunEvent(at=run.ended_at, what=run.status.lower(), reason=run.reason))
    return Page(items=sorted(events, key=lambda e: e.at))


async def _require(parts: Resources, run_id: UUID, caller: Caller, permission: Permission) -> None:
    """Checks the permission where the run is. Raises `NotFound`, `Forbidden`."""
    async with parts.sessions() as db:
        caller.require(permission, place_of(await find_run(db, run_id)))


async def _look(parts: Resources, run_id: UUID) -> RunView:
    async with parts.sessions() as db:
        return await whole_run(db, run_id)


async def _waited(parts: Resources, response: Response, run_id: UUID, seconds: float) -> RunView:
    """The run, at its end if that comes in time: then the status code is 200."""
    run = await wait_for(lambda: _look(parts, run_id), done=lambda r: r.status in ENDED, seconds=seconds)
    if run.status in ENDED:
        response.status_code = 200
    return run
