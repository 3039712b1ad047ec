from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from kirby_common.ledger import locks
from kirby_common.ledger.policies import merged
from kirby_common.ledger.tables import Context, ContextSchedule, Environment, Job, Schedule
from pydantic import ConfigDict, Field, ValidationError
from sqlalchemy import ColumnElement, Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller, Place
from kirby_api.access.visible import readable_context
from kirby_api.changes import Change
from kirby_api.kinds.kind import Form, Kind, View, sent
from kirby_api.kinds.limits import require_limits
from kirby_api.kinds.live import require_no_live_runs, take_back_due_times
from kirby_api.kinds.names import (
    Argument,
    Entry,
    EnvironmentName,
    Name,
    PackageName,
    PackageVersion,
    PolicyKeys,
    Text,
)
from kirby_api.kinds.pausing import set_paused
from kirby_api.kinds.references import environment_named, job_named, place_of_context, schedule_named
from kirby_api.kinds.scripts import script_for
from kirby_api.kinds.summaries import ScriptRef, summaries
from kirby_api.problems import Conflict, Invalid, sentence


class ScriptSpec(Form):
    package_name: PackageName
    package_version: PackageVersion
    entry: Entry | None = None


class ContextPatch(Form):
    """`enabled: true` asks for the context; it is `enabling` until its version is resolved to a lock."""

    enabled: bool | None = None
    paused: bool | None = None
    pause_reason: Text | None = None
    script: ScriptSpec | None = None
    schedules: list[Name] | None = Field(default=None, description="names; replaces the ones it has")
    replicas: int | None = Field(default=None, ge=0, le=1000)
    per_worker: bool | None = None
    pool: Name | None = None
    args: list[Argument] | None = None
    policies: PolicyKeys | None = None


class NewContext(ContextPatch):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"job": "weather", "env": "prod", "schedules": ["nightly"], "enabled": True,
                 "script": {"package_name": "weather-sensor", "package_version": "1.0.0"}}
            ]
        }
    )  # fmt: skip

    job: Name
    env: EnvironmentName


class ContextView(View):
    job: str
    env: str
    namespace: str
    type: str
    script: ScriptRef | None
    state: str
    state_reason: str | None
    paused: bool
    pause_reason: str | None
    paused_by: str | None
    replicas: int
    per_worker: bool
    pool: str
    args: list[str]
    policies: dict[str, Any]
    schedules: list[str]
    next_due_at: datetime | None
    set_aside: str | None = Field(description="why the scheduler can't judge its due times, if so")


class Contexts(Kind[Context]):
    name, plural, title = "context", "contexts", "context"
    row = Context
    new, patch, view = NewContext, ContextPatch, ContextView
    filters = ("job", "env", "state")
    rules_too = True

    @property
    def sort(self) -> ColumnElement[Any]:
        return Context.created_at  # type: ignore[return-value]

    def sort_value(self, row: Context) -> Any:
        return row.created_at.isoformat()

    def cursor_bounds(self, sort: Any, last: Any) -> tuple[Any, Any]:
        try:
            return datetime.fromisoformat(sort), super().cursor_bounds(sort, last)[1]
        except (ValueError, TypeError) as error:
            raise Invalid("the cursor is not one of this list; start without one") from error

    def label(self, row: Context) -> str:
        return f"context {row.id}"

    def narrowed(self, query: Select[Context], filters: Mapping[str, str]) -> Select[Context]:
        if "job" in filters:
            query = query.where(Context.job_id.in_(select(Job.id).where(Job.name == filters["job"])))
        if "env" in filters:
            wanted = select(Environment.id).where(Environment.name == filters["env"])
            query = query.where(Context.environment_id.in_(wanted))
        if "state" in filters:
            query = query.where(Context.state == filters["state"])
        return query

    async def by_name(self, db: AsyncSession, ref: str) -> Context | None:
        job, _, env = ref.rpartition("@")
        return (
            await db.scalars(
                select(Context).join(Job).join(Environment).where(Job.name == job, Environment.name == env)
            )
        ).one_or_none()

    async def show(self, db: AsyncSession, rows: Sequence[Context]) -> list[View]:
        short = {context.id: s for context, s in await summaries(db, Context.id.in_([r.id for r in rows]))}
        jobs = {j.id: j for j in await db.scalars(select(Job).where(Job.id.in_([row.job_id for row in rows])))}
        return [
            ContextView(
                id=row.id, rev=row.rev, job=short[row.id].job, env=short[row.id].env,
                namespace=jobs[row.job_id].namespace, type=jobs[row.job_id].type, script=short[row.id].script,
                state=row.state, state_reason=row.state_reason, paused=row.paused, pause_reason=row.pause_reason,
                paused_by=row.paused_by, replicas=row.replicas, per_worker=row.per_worker, pool=row.pool,
                args=row.args, policies=row.policies, schedules=short[row.id].schedules,
                next_due_at=row.next_due_at, set_aside=row.set_aside,
            )
            for row in rows
        ]  # fmt: skip

    async def make(self, change: Change, form: Any) -> Context:
        assert isinstance(form, NewContext)
        db = change.session
        job = await job_named(db, form.job)
        environment = await environment_named(db, form.env)
        if await self.by_name(db, f"{form.job}@{form.env}") is not None:
            raise Conflict(f"job '{form.job}' is in environment '{form.env}' already; change that context instead")
        row = Context(job_id=job.id, environment_id=environment.id)
        db.add(row)
        await db.flush()
        await db.refresh(row)
        await self._apply(change, row, sent(form), job)
        return row

    async def alter(self, change: Change, row: Context, form: Any) -> None:
        job = await change.session.get_one(Job, row.job_id)
        await self._apply(change, row, sent(form), job)

    async def remove(self, change: Change, row: Context) -> None:
        db = change.session
        contexts = await require_no_live_runs(db, Context.id == row.id, doing="remove this context")
        await take_back_due_times(change, contexts, reason="context removed")
        await db.execute(delete(Context).where(Context.id == row.id))

    def visible(self, caller: Caller) -> ColumnElement[bool]:
        return readable_context(caller, Context.id)

    async def place(self, db: AsyncSession, row: Context) -> Place:
        return await place_of_context(db, row.id)

    async def place_of_new(self, db: AsyncSession, form: Any) -> Place:
        return Place(env=form.env, namespace=(await job_named(db, form.job)).namespace)

    async def _apply(self, change: Change, row: Context, fields: dict[str, Any], job: Job) -> None:
        for name in ("replicas", "per_worker", "pool", "args", "policies"):
            if fields.get(name) is not None:
                setattr(row, name, fields[name])
        await require_limits(change.session, fields.get("policies") or {})
        try:
            merged(job.policies, row.policies)
        except ValidationError as error:
            raise Invalid(f"policies: {sentence(list(error.errors()))}") from error
        set_paused(row, fields, author=change.author)
        if fields.get("script") is not None:
            spec = fields["script"]
            script = await script_for(change, spec.package_name, spec.package_version, entry=spec.entry)
            await point_to(change, row, script.id)
        if fields.get("schedules") is not None:
            await set_schedules(change.session, row, fields["schedules"], job)
        await set_enabled(change, row, fields.get("enabled"))


async def point_to(change: Change, row: Context, script_id: Any) -> None:
    """Gives the context another script; an enabled one goes on with it once that is resolved."""
    if row.script_id == script_id:
        return
    row.script_id = script_id
    if row.state == "enabled":
        row.state = "enabling"
    await change.session.flush()


async def set_schedules(db: AsyncSession, row: Context, names: Sequence[str], job: Job) -> None:
    if names and job.type == "daemon":
        raise Invalid(f"schedules: '{job.name}' is a daemon: it runs all the time and has no schedule")
    wanted: list[Schedule] = [await schedule_named(db, name) for name in dict.fromkeys(names)]
    await db.execute(delete(ContextSchedule).where(ContextSchedule.context_id == row.id))
    db.add_all([ContextSchedule(context_id=row.id, schedule_id=schedule.id) for schedule in wanted])
    await db.flush()


async def set_enabled(change: Change, row: Context, enabled: bool | None) -> None:
    """Enables (or waits for the lock), or disables; None leaves it, but follows a change of script."""
    db = change.session
    await db.flush()
    if enabled is False:
        row.state, row.state_reason, row.next_due_at = "disabled", None, None
        await db.flush()
    elif enabled or row.state == "enabling":
        try:
            await locks.enable(db, row.id)
        except ValueError as error:
            raise Invalid(str(error)) from error
        await db.refresh(row)
