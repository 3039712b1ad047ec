"""The original Kirby's endpoints, at the root and with its shapes; they need a token like all others."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Form, Query
from fastapi.responses import JSONResponse
from kirby_common.ledger.contexts import ContextView, load
from kirby_common.ledger.tables import (
    ConfigKey,
    Context,
    Notification,
    NotificationGroup,
    Run,
    Script,
    ScriptTopic,
    Topic,
)
from kirby_common.schedules import due_times
from pydantic import BaseModel
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.gate import ConfigurerOrRun, Parts, Reader, ReaderOrRun
from kirby_api.access.permissions import Permission, Place
from kirby_api.problems import Forbidden, NotFound
from kirby_api.routes.documents import PROBLEMS

R = TypeVar("R", Script, Topic)
router = APIRouter(tags=["the original's endpoints"], responses=PROBLEMS)


class Group(BaseModel):
    name: str
    emails: list[str]


class Told(BaseModel):
    on_retry: bool
    on_failure: bool
    groups: list[Group]


class Variable(BaseModel):
    key: str
    value: str


class ScheduledJob(BaseModel):
    name: str
    type: str
    environment: str
    package_name: str
    package_version: str
    notifications: list[Told]
    variables: list[Variable]


class ScheduleDocument(BaseModel):
    date: datetime
    jobs: list[ScheduledJob]


class NamedTopic(BaseModel):
    id: UUID
    name: str


@router.get("/schedule", name="original_schedule", summary="All daemons, and the jobs that are due this minute")
async def get_schedule(parts: Parts, caller: Reader) -> ScheduleDocument:
    now = parts.clock.now()
    async with parts.sessions() as db:
        ids = (await db.scalars(select(Context.id).where(Context.state == "enabled"))).all()
        seen = [c for c in await load(db, ids) if caller.may(Permission.READ, Place(c.env, c.namespace))]
        contexts = [c for c in seen if c.package_name and _is_on(c, now)]
        variables = await _variables(db, contexts)
        told = await _notifications(db, [c.id for c in contexts])
    return ScheduleDocument(
        date=now,
        jobs=[
            ScheduledJob(
                name=c.job, type=c.type, environment=c.env, package_name=c.package_name or "",
                package_version=c.package_version or "", notifications=told.get(c.id, []),
                variables=[Variable(key=key, value=value) for key, value in variables[c.id].items()],
            )
            for c in contexts
        ],
    )  # fmt: skip


def _is_on(context: ContextView, now: datetime) -> bool:
    if context.type == "daemon":
        return True
    minute = now.replace(second=0, microsecond=0)
    before, end = minute - timedelta(microseconds=1), minute + timedelta(minutes=1, microseconds=-1)
    schedules = context.rules.schedules
    return any(next(iter(due_times(spec, after=before, until=end)), None) is not None for spec in schedules)


async def _variables(db: AsyncSession, contexts: Sequence[ContextView]) -> dict[UUID, dict[str, str]]:
    """The config keys of each context, the narrower scope over the wider; references to secrets stay references."""
    order = {"global": 0, "job": 1, "context": 2}
    rows = sorted(await db.scalars(select(ConfigKey)), key=lambda k: order[k.scope])
    return {
        c.id: {
            k.name: k.value
            for k in rows
            if k.scope == "global" or k.job_id == c.job_id or (k.context_id is not None and k.context_id == c.id)
        }
        for c in contexts
    }


async def _notifications(db: AsyncSession, contexts: Sequence[UUID]) -> dict[UUID, list[Told]]:
    found: dict[UUID, list[Told]] = {}
    query = (
        select(Notification, NotificationGroup)
        .join(NotificationGroup, NotificationGroup.id == Notification.group_id)
        .where(Notification.context_id.in_(contexts))
        .order_by(NotificationGroup.name)
    )
    for notification, group in await db.execute(query):
        entry = Told(
            on_retry=notification.on_retry,
            on_failure=notification.on_failure,
            groups=[Group(name=group.name, emails=group.emails)],
        )
        found.setdefault(notification.context_id, []).append(entry)
    return found


@router.patch("/registration", name="original_registration", summary="A script tells its sources and destinations")
async def register(
    parts: Parts,
    caller: ConfigurerOrRun,
    script_id: Annotated[str, Form()],
    source_id: Annotated[list[str] | None, Form()] = None,
    destination_id: Annotated[list[str] | None, Form()] = None,
) -> JSONResponse:
    async with parts.sessions() as db, db.begin():
        script = await _by_id(db, Script, script_id)
        if script is None:
            return _unknown("script", script_id)
        if caller.run_id is not None:
            own = await db.scalar(select(Run.script_id).where(Run.id == caller.run_id))
            if own != script.id:
                raise Forbidden(f"{caller.name} may register its own script only")
        for direction, ids in (("source", source_id or []), ("destination", destination_id or [])):
            for topic_id in ids:
                topic = await _by_id(db, Topic, topic_id)
                if topic is None:
                    await db.rollback()
                    return _unknown(f"{direction} topic", topic_id)
                statement = insert(ScriptTopic).values(script_id=script.id, topic_id=topic.id, direction=direction)
                seen = {"last_seen": func.clock_timestamp()}
                keys = ["script_id", "topic_id", "direction"]
                await db.execute(statement.on_conflict_do_update(index_elements=keys, set_=seen))
        await db.execute(update(Script).where(Script.id == script.id).values(last_seen=func.clock_timestamp()))
    # The original answers with this spelling, and its clients compare it.
    return JSONResponse({"message": "Sucess"})


def _unknown(what: str, ref: str) -> JSONResponse:
    return JSONResponse({"message": f"there is no {what} with the id {ref}"}, status_code=400)


async def _by_id(db: AsyncSession, row: type[R], ref: str) -> R | None:
    try:
        return await db.get(row, UUID(ref))
    except ValueError:
        return None


@router.get("/topic", name="original_topic", summary="The id of a topic")
async def get_topic_id(parts: Parts, caller: ReaderOrRun, name: Annotated[str, Query()]) -> NamedTopic:
    async with parts.sessions() as db:
        topic = (await db.scalars(select(Topic).where(Topic.name == name))).one_or_none()
    if topic is None:
        raise NotFound(f"there is no topic '{name}'")
    return NamedTopic(id=topic.id, name=topic.name)
