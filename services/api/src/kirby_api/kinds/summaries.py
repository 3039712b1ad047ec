"""Short forms of contexts, read in one query: they appear inside jobs, scripts and contexts."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from kirby_common.ledger.tables import Context, ContextSchedule, Environment, Job, Schedule, Script
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import ColumnElement


class ScriptRef(BaseModel):
    id: UUID
    package_name: str
    package_version: str
    entry: str | None


class ContextSummary(BaseModel):
    id: UUID
    job: str
    env: str
    state: str
    state_reason: str | None
    paused: bool
    script: ScriptRef | None
    schedules: list[str] = []
    next_due_at: datetime | None = None


def script_ref(script: Script | None) -> ScriptRef | None:
    if script is None:
        return None
    return ScriptRef(
        id=script.id, package_name=script.package_name, package_version=script.package_version, entry=script.entry
    )


async def summaries(db: AsyncSession, where: ColumnElement[bool]) -> list[tuple[Context, ContextSummary]]:
    """The contexts that match, with the names that people know them by."""
    query = (
        select(Context, Job.name, Environment.name, Script)
        .join(Job, Job.id == Context.job_id)
        .join(Environment, Environment.id == Context.environment_id)
        .outerjoin(Script, Script.id == Context.script_id)
        .where(where)
        .order_by(Job.name, Environment.name)
    )
    rows = (await db.execute(query)).all()
    schedules = await schedules_of(db, [row[0].id for row in rows])
    return [
        (
            context,
            ContextSummary(
                id=context.id, job=job, env=env, state=context.state,
                state_reason=context.state_reason, paused=context.paused, script=script_ref(script),
                schedules=schedules.get(context.id, []),
                next_due_at=context.next_due_at,
            ),
        )
        for context, job, env, script in rows
    ]  # fmt: skip


async def schedules_of(db: AsyncSession, contexts: Sequence[UUID]) -> dict[UUID, list[str]]:
    """The names of each context's schedules."""
    found: dict[UUID, list[str]] = {}
    query = (
        select(ContextSchedule.context_id, Schedule.name)
        .join(Schedule, Schedule.id == ContextSchedule.schedule_id)
        .where(ContextSchedule.context_id.in_(contexts))
        .order_by(Schedule.name)
    )
    for context_id, name in await db.execute(query):
        found.setdefault(context_id, []).append(name)
    return found
