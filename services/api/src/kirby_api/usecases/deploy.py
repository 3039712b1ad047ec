"""A deployment: everything that a job needs in one environment, made or changed in one transaction."""

from dataclasses import dataclass, field
from typing import Any

from kirby_common.ledger.tables import ConfigKey, Context
from pydantic import ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller, Permission, Place
from kirby_api.changes import Change
from kirby_api.kinds.config_keys import ConfigKeyPatch, ConfigKeys, NewConfigKey
from kirby_api.kinds.contexts import ContextPatch, Contexts, ContextView, NewContext, ScriptSpec
from kirby_api.kinds.environments import Environments, NewEnvironment
from kirby_api.kinds.jobs import JobPatch, Jobs, JobType, NewJob, job_by_name
from kirby_api.kinds.kind import Form
from kirby_api.kinds.names import (
    Argument,
    Entry,
    EnvironmentName,
    Labels,
    Name,
    Namespace,
    PackageName,
    PackageVersion,
    PolicyKeys,
    VariableName,
    VariableValue,
)
from kirby_api.kinds.references import script_of
from kirby_api.kinds.schedules import NewSchedule, SchedulePatch, Schedules, Timing
from kirby_api.kinds.scripts import Scripts, ScriptView
from kirby_api.problems import Invalid
from kirby_api.usecases.recorded import Recorded


class NewDeployment(Form):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"job": "weather", "env": "prod", "type": "scheduled", "package_name": "weather-sensor",
                 "package_version": "1.0.0", "schedule": {"every": "10s"}}
            ]
        }
    )  # fmt: skip

    job: Name
    env: EnvironmentName
    type: JobType = "scheduled"
    package_name: PackageName
    package_version: PackageVersion
    entry: Entry | None = None
    namespace: Namespace | None = None
    labels: Labels | None = None
    args: list[Argument] | None = None
    schedule: Timing | None = Field(default=None, description="becomes the schedule JOB@ENV; unset: as it is")
    replicas: int | None = Field(default=None, ge=0, le=1000)
    per_worker: bool | None = None
    group: Name | None = None
    pool: Name | None = None
    variables: dict[VariableName, VariableValue] = {}
    enable: bool = True
    policies: PolicyKeys | None = None


class Deployed(Form):
    context: ContextView
    script: ScriptView
    created: list[str] = Field(description="what there was not before: environment, job, script, schedule, context")


@dataclass
class _Work(Recorded):
    """The deployment in progress."""

    form: NewDeployment = field(kw_only=True)


async def check_place(db: AsyncSession, form: NewDeployment, caller: Caller) -> None:
    """The permission is needed where the job is, and where it will be."""
    job = await job_by_name(db, form.job)
    namespaces = {form.namespace or (job.namespace if job else "default")} | ({job.namespace} if job else set())
    for namespace in sorted(namespaces):
        caller.require(Permission.CONFIGURE, Place(env=form.env, namespace=namespace))


async def deploy(change: Change, form: NewDeployment) -> Deployed:
    """Makes or changes the environment, job, schedule, script, context and variables, inside the caller's
    transaction. Raises `Invalid`, `Conflict`.
    """
    if form.type == "daemon" and form.schedule is not None:
        raise Invalid("schedule: a daemon runs all the time and has no schedule")
    work = _Work(change, form=form)
    await _environment(work)
    await _job(work)
    await _schedule(work)
    context = await _context(work)
    await _variables(work)
    scripts = Scripts()
    script = await scripts.find(change.session, str(context.script.id if context.script else ""))
    view = await scripts.one(change.session, script)
    assert isinstance(view, ScriptView)
    return Deployed(context=context, script=view, created=work.created)


async def _environment(work: _Work) -> None:
    kind = Environments()
    if await kind.by_name(work.change.session, work.form.env) is None:
        await work.make(kind, NewEnvironment(name=work.form.env))


async def _job(work: _Work) -> None:
    form, kind = work.form, Jobs()
    given = {name: getattr(form, name) for name in ("namespace", "labels", "group") if getattr(form, name) is not None}
    row = await kind.by_name(work.change.session, form.job)
    if row is None:
        await work.make(kind, NewJob(name=form.job, type=form.type, **given))
        return
    asked = {"type": form.type, **given}
    changed = {name: value for name, value in asked.items() if getattr(row, name) != value}
    if changed:
        await work.alter(kind, row, JobPatch(**changed))


async def _schedule(work: _Work) -> None:
    timing, kind = work.form.schedule, Schedules()
    if timing is None:
        return
    name = f"{work.form.job}@{work.form.env}"
    row = await kind.by_name(work.change.session, name)
    fields = timing.model_dump(exclude={"kind", "cron"}, exclude_none=True)
    if row is None:
        await work.make(kind, NewSchedule(name=name, **fields))
    else:
        await work.alter(kind, row, SchedulePatch(**fields))


async def _context(work: _Work) -> ContextView:
    form, kind = work.form, Contexts()
    fields: dict[str, Any] = {
        "script": ScriptSpec(package_name=form.package_name, package_version=form.package_version, entry=form.entry),
        **{
            name: getattr(form, name)
            for name in ("args", "replicas", "per_worker", "pool", "policies")
            if getattr(form, name) is not None
        },
    }
    if form.schedule is not None:
        fields["schedules"] = [f"{form.job}@{form.env}"]
    if form.enable:
        fields["enabled"] = True
    known = {row.id for row in [await _script_row(work)] if row is not None}
    row = await kind.by_name(work.change.session, f"{form.job}@{form.env}")
    if row is None:
        view = await work.make(kind, NewContext(job=form.job, env=form.env, **fields))
    else:
        view = await work.alter(kind, row, ContextPatch(**fields))
    assert isinstance(view, ContextView)
    if view.script is not None and view.script.id not in known:
        work.created.append("script")
    return view


async def _script_row(work: _Work) -> Any:
    form = work.form
    return await script_of(work.change.session, form.package_name, form.package_version, entry=form.entry)


async def _variables(work: _Work) -> None:
    form, kind, db = work.form, ConfigKeys(), work.change.session
    context: Context = await Contexts().find(db, f"{form.job}@{form.env}")
    for name, value in form.variables.items():
        row = await _variable(db, context, name)
        if row is None:
            await work.make(kind, NewConfigKey(name=name, value=value, job=form.job, env=form.env))
        elif row.value != value:
            await work.alter(kind, row, ConfigKeyPatch(value=value))


async def _variable(db: AsyncSession, context: Context, name: str) -> ConfigKey | None:
    query = select(ConfigKey).where(ConfigKey.context_id == context.id, ConfigKey.name == name)
    return (await db.scalars(query)).one_or_none()
