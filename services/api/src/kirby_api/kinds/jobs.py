from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kirby_common.ledger.tables import Context, Job
from pydantic import ConfigDict, Field
from sqlalchemy import ColumnElement, Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller, Place
from kirby_api.access.visible import readable
from kirby_api.changes import Change
from kirby_api.kinds.kind import Form, Kind, View, sent
from kirby_api.kinds.limits import require_limits
from kirby_api.kinds.live import require_no_live_runs, take_back_due_times
from kirby_api.kinds.names import Labels, Name, Namespace, PolicyKeys, Text
from kirby_api.kinds.pausing import set_paused
from kirby_api.kinds.predecessors import (
    After,
    predecessors_of,
    require_no_successors,
    set_predecessors,
    successors_of,
)
from kirby_api.kinds.summaries import ContextSummary, summaries
from kirby_api.problems import Conflict, Invalid

JobType = Literal["scheduled", "daemon"]


class NewJob(Form):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "weather", "type": "scheduled", "namespace": "demo"}]}
    )

    name: Name
    type: JobType = "scheduled"
    namespace: Namespace = "default"
    description: Text = ""
    labels: Labels = {}
    group: Name | None = Field(default=None, description="daemons: the consumer group of its replicas")
    exclusive: bool | None = Field(default=None, description="daemons: at most one alive; unset: true without a group")
    kafka: Literal["default", "none"] = "default"
    policies: PolicyKeys = {}
    after: list[After] = Field(default=[], max_length=50, description="runs after JOB, JOB:failure or JOB:done")


class JobPatch(Form):
    type: JobType | None = None
    namespace: Namespace | None = None
    description: Text | None = None
    labels: Labels | None = None
    group: Name | None = None
    exclusive: bool | None = None
    kafka: Literal["default", "none"] | None = None
    policies: PolicyKeys | None = None
    paused: bool | None = Field(default=None, description="in all its environments, those to come included")
    pause_reason: Text | None = None
    after: list[After] | None = Field(default=None, max_length=50)


class JobView(View):
    name: str
    type: JobType
    namespace: str
    description: str
    labels: dict[str, str]
    group: str | None
    exclusive: bool | None
    kafka: str
    policies: dict[str, Any]
    paused: bool
    pause_reason: str | None
    paused_by: str | None
    after: list[str] = Field(default=[], description="the jobs that it comes after, in the same environment")
    successors: list[str] = Field(default=[], description="the jobs that come after it")
    contexts: list[ContextSummary] = []


class Jobs(Kind[Job]):
    name, plural, title = "job", "jobs", "job"
    row = Job
    new, patch, view = NewJob, JobPatch, JobView
    filters = ("namespace", "type")
    rules_too = True

    def narrowed(self, query: Select[Job], filters: Mapping[str, str]) -> Select[Job]:
        if "namespace" in filters:
            query = query.where(Job.namespace == filters["namespace"])
        if "type" in filters:
            query = query.where(Job.type == filters["type"])
        return query

    async def show(self, db: AsyncSession, rows: Sequence[Job]) -> list[View]:
        contexts: dict[Any, list[ContextSummary]] = {}
        for context, summary in await summaries(db, Context.job_id.in_([row.id for row in rows])):
            contexts.setdefault(context.job_id, []).append(summary)
        ids = [row.id for row in rows]
        after, successors = await predecessors_of(db, ids), await successors_of(db, ids)
        return [
            JobView(
                id=row.id, rev=row.rev, name=row.name, type=row.type, namespace=row.namespace,
                description=row.description, labels=row.labels, group=row.group, exclusive=row.exclusive,
                kafka=row.kafka, policies=row.policies, paused=row.paused, pause_reason=row.pause_reason,
                paused_by=row.paused_by, after=after.get(row.id, []), successors=successors.get(row.id, []),
                contexts=contexts.get(row.id, []),
            )
            for row in rows
        ]  # fmt: skip

    async def make(self, change: Change, form: Any) -> Job:
        assert isinstance(form, NewJob)
        if await self.by_name(change.session, form.name) is not None:
            raise Conflict(f"job '{form.name}' exists")
        check_daemon_fields(form.type, group=form.group, exclusive=form.exclusive)
        await require_limits(change.session, form.policies)
        row = Job(**form.model_dump(exclude={"after"}))
        change.session.add(row)
        if form.after:
            await change.session.flush()
            await set_predecessors(change.session, row, form.after)
        return row

    async def alter(self, change: Change, row: Job, form: Any) -> None:
        fields = sent(form)
        after = fields.pop("after", None)
        for name in ("type", "namespace", "description", "labels", "kafka", "policies"):
            if name in fields and fields[name] is None:
                raise Invalid(f"{name}: it can't be null; leave it out to keep it")
        if fields.get("type", row.type) != row.type:
            if fields["type"] == "daemon":
                await _require_no_schedules(change.session, row)
                await require_no_successors(change.session, row, doing=f"make '{row.name}' a daemon")
                after = [] if after is None else after
            await require_no_live_runs(
                change.session, Context.job_id == row.id, doing=f"change the type of '{row.name}'"
            )
        if "policies" in fields:
            await require_limits(change.session, fields["policies"])
        set_paused(row, fields, author=change.author)
        for name, value in fields.items():
            setattr(row, name, value)
        check_daemon_fields(row.type, group=row.group, exclusive=row.exclusive)
        if after is not None:
            await set_predecessors(change.session, row, after)

    async def remove(self, change: Change, row: Job) -> None:
        db = change.session
        await require_no_successors(db, row, doing=f"remove '{row.name}'")
        contexts = await require_no_live_runs(db, Context.job_id == row.id, doing=f"remove '{row.name}'")
        await take_back_due_times(change, contexts, reason="job removed")
        for context_id in contexts:
            await change.record("context", context_id, rev=0, action="delete", value=None)
        await db.execute(delete(Context).where(Context.id.in_(contexts)))
        await db.delete(row)

    def visible(self, caller: Caller) -> ColumnElement[bool]:
        return readable(caller, namespace=Job.namespace)

    async def place(self, db: AsyncSession, row: Job) -> Place:
        return Place(namespace=row.namespace)

    async def place_of_new(self, db: AsyncSession, form: Any) -> Place:
        return Place(namespace=form.namespace)


async def _require_no_schedules(db: AsyncSession, row: Job) -> None:
    for _, summary in await summaries(db, Context.job_id == row.id):
        if summary.schedules:
            has = f"'{row.name}' has the schedule {summary.schedules[0]} in {summary.env}"
            raise Conflict(f"{has}; a daemon has none: take it off first")


def check_daemon_fields(type_: str, *, group: str | None, exclusive: bool | None) -> None:
    """Raises `Invalid` for what only a daemon can have."""
    if type_ == "scheduled" and group is not None:
        raise Invalid("group: only a daemon has a group")
    if type_ == "scheduled" and exclusive is not None:
        raise Invalid("exclusive: only a daemon is exclusive or not; for runs use the overlap policy")


async def job_by_name(db: AsyncSession, name: str) -> Job | None:
    return (await db.scalars(select(Job).where(Job.name == name))).one_or_none()
