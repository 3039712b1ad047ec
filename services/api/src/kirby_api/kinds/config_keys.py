from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kirby_common.ledger.tables import ConfigKey, Context, Environment, Job
from pydantic import ConfigDict, Field
from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import ANYWHERE, Caller, Place
from kirby_api.access.visible import readable_context, readable_job
from kirby_api.changes import Change
from kirby_api.kinds.kind import Form, Kind, View, sent
from kirby_api.kinds.names import EnvironmentName, Name, VariableName, VariableValue
from kirby_api.kinds.references import context_named, job_named, place_of_context
from kirby_api.problems import Conflict, Invalid

Scope = Literal["global", "job", "context"]


class NewConfigKey(Form):
    """Global without `job`; of a job; or, with `env`, of the job in that environment. The narrower one wins."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "DB_PASSWORD", "value": "secret://db/main#password", "job": "weather"}]
        }
    )

    name: VariableName
    value: VariableValue
    scope: Scope | None = Field(default=None, description="follows from job and env; may be left out")
    job: Name | None = None
    env: EnvironmentName | None = None


class ConfigKeyPatch(Form):
    value: VariableValue


class ConfigKeyView(View):
    scope: Scope
    job: str | None
    env: str | None
    name: str
    value: str


class ConfigKeys(Kind[ConfigKey]):
    name, plural, title = "config-key", "config-keys", "config key"
    row = ConfigKey
    new, patch, view = NewConfigKey, ConfigKeyPatch, ConfigKeyView
    filters = ("scope", "job", "env", "name")

    def narrowed(self, query: Select[ConfigKey], filters: Mapping[str, str]) -> Select[ConfigKey]:
        for name in ("scope", "name"):
            if name in filters:
                query = query.where(getattr(ConfigKey, name) == filters[name])
        if "job" in filters or "env" in filters:
            contexts = select(Context.id).join(Job).join(Environment)
            matches: ColumnElement[bool] | None = None
            if "job" in filters:
                contexts = contexts.where(Job.name == filters["job"])
            if "env" in filters:
                contexts = contexts.where(Environment.name == filters["env"])
            else:
                matches = ConfigKey.job_id.in_(select(Job.id).where(Job.name == filters["job"]))
            of_context = ConfigKey.context_id.in_(contexts)
            query = query.where(of_context if matches is None else of_context | matches)
        return query

    async def by_name(self, db: AsyncSession, ref: str) -> ConfigKey | None:
        found = (await db.scalars(select(ConfigKey).where(ConfigKey.name == ref).limit(2))).all()
        if len(found) > 1:
            raise Conflict(f"config key '{ref}' exists in several scopes; say which by its id")
        return found[0] if found else None

    async def show(self, db: AsyncSession, rows: Sequence[ConfigKey]) -> list[View]:
        jobs, contexts = await _names(db, rows)
        views: list[View] = []
        for row in rows:
            job, env = contexts[row.context_id] if row.context_id else (jobs.get(row.job_id), None)
            views.append(
                ConfigKeyView(id=row.id, rev=row.rev, scope=row.scope, job=job, env=env, name=row.name, value=row.value)
            )
        return views

    async def make(self, change: Change, form: Any) -> ConfigKey:
        assert isinstance(form, NewConfigKey)
        db = change.session
        scope = scope_of(form)
        row = ConfigKey(name=form.name, value=form.value, scope=scope)
        if scope == "job":
            row.job_id = (await job_named(db, form.job or "")).id
        elif scope == "context":
            row.context_id = (await context_named(db, form.job or "", form.env or "")).id
        taken = await db.scalar(
            select(ConfigKey.id)
            .where(ConfigKey.name == row.name)
            .where(ConfigKey.job_id.is_not_distinct_from(row.job_id))
            .where(ConfigKey.context_id.is_not_distinct_from(row.context_id))
        )
        if taken is not None:
            raise Conflict(
                f"config key '{form.name}' exists {_where(form.job, form.env)}; change it instead", id=str(taken)
            )
        db.add(row)
        return row

    async def alter(self, change: Change, row: ConfigKey, form: Any) -> None:
        row.value = sent(form).get("value", row.value)

    def visible(self, caller: Caller) -> ColumnElement[bool]:
        return or_(
            ConfigKey.scope == "global",
            readable_job(caller, ConfigKey.job_id),
            readable_context(caller, ConfigKey.context_id),
        )

    async def place(self, db: AsyncSession, row: ConfigKey) -> Place:
        if row.context_id is not None:
            return await place_of_context(db, row.context_id)
        if row.job_id is not None:
            return Place(namespace=(await db.get_one(Job, row.job_id)).namespace)
        return ANYWHERE

    async def place_of_new(self, db: AsyncSession, form: Any) -> Place:
        if form.job is None:
            return ANYWHERE
        return Place(env=form.env, namespace=(await job_named(db, form.job)).namespace)

    def told(self, value: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in value.items() if k != "value"}


def scope_of(form: NewConfigKey) -> Scope:
    """Raises `Invalid` when what was said contradicts itself."""
    if form.env is not None and form.job is None:
        raise Invalid("env: a config key of an environment also needs the job")
    scope: Scope = "global" if form.job is None else "job" if form.env is None else "context"
    if form.scope not in (None, scope):
        raise Invalid(f"scope: {form.scope} does not fit; with these fields the scope is {scope}")
    return scope


def _where(job: str | None, env: str | None) -> str:
    return f"for {job} in {env}" if env else f"for {job}" if job else "globally"


async def _names(db: AsyncSession, rows: Sequence[ConfigKey]) -> tuple[dict[Any, str], dict[Any, tuple[str, str]]]:
    jobs = await db.execute(select(Job.id, Job.name).where(Job.id.in_([r.job_id for r in rows if r.job_id])))
    contexts = await db.execute(
        select(Context.id, Job.name, Environment.name)
        .join(Job, Job.id == Context.job_id)
        .join(Environment, Environment.id == Context.environment_id)
        .where(Context.id.in_([r.context_id for r in rows if r.context_id]))
    )
    return {row[0]: row[1] for row in jobs}, {row[0]: (row[1], row[2]) for row in contexts}
