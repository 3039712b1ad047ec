"""Importing a document: everything of it, in the caller's transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kirby_common.ledger.tables import Script
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.changes import Change
from kirby_api.kinds.config_keys import ConfigKeys, NewConfigKey
from kirby_api.kinds.contexts import Contexts, NewContext, ScriptSpec
from kirby_api.kinds.environments import Environments
from kirby_api.kinds.jobs import JobPatch, Jobs, NewJob
from kirby_api.kinds.kind import Form, Kind
from kirby_api.kinds.limits import Limits
from kirby_api.kinds.notifications import NewNotification, NotificationGroups, Notifications
from kirby_api.kinds.references import environment_named, group_named, schedule_named
from kirby_api.kinds.registry import KINDS
from kirby_api.kinds.schedules import Schedules
from kirby_api.kinds.scripts import Scripts
from kirby_api.kinds.topics import Topics
from kirby_api.problems import Invalid, Problem
from kirby_api.usecases.document import ContextEntry, Document, JobEntry, Variable
from kirby_api.usecases.recorded import Recorded


async def what_is_there(db: AsyncSession) -> list[str]:
    """The configured things of a database that is not empty: `2 environments`, `3 jobs` …"""
    found = []
    for kind in KINDS:
        count = await db.scalar(select(func.count()).select_from(kind.row))
        if count:
            found.append(f"{count} {kind.title if count == 1 else kind.plural.replace('-', ' ')}")
    return found


async def import_document(change: Change, document: Document) -> dict[str, int]:
    """How many of each kind were made. Raises a `Problem` that begins with the path of the fault."""
    work = Recorded(change)
    plain: tuple[tuple[str, Kind[Any], list[Any]], ...] = (
        ("environments", Environments(), document.environments),
        ("schedules", Schedules(), document.schedules),
        ("topics", Topics(), document.topics),
        ("scripts", Scripts(), document.scripts),
        ("notification_groups", NotificationGroups(), document.notification_groups),
        ("limits", Limits(), document.limits),
    )
    for name, kind, forms in plain:
        for index, form in enumerate(forms):
            with _at(f"{name}[{index}]"):
                await work.make(kind, form)
    await _variables(work, "config_keys", document.config_keys)
    for index, job in enumerate(document.jobs):
        await _job(work, f"jobs[{index}]", job)
    for index, job in enumerate(document.jobs):
        if job.after:
            with _at(f"jobs[{index}]"):
                kind = Jobs()
                await work.alter(kind, await kind.find(change.session, job.name), JobPatch(after=job.after))
    return {name: work.created.count(name) for name in dict.fromkeys(work.created)}


async def _job(work: Recorded, path: str, entry: JobEntry) -> None:
    with _at(path):
        # What it comes after may stand below it in the document.
        await work.make(Jobs(), NewJob(**{**_fields(entry, NewJob), "after": []}))
    await _variables(work, f"{path}.config_keys", entry.config_keys, job=entry.name)
    for index, context in enumerate(entry.contexts):
        await _context(work, f"{path}.contexts[{index}]", entry, context)


async def _context(work: Recorded, path: str, job: JobEntry, entry: ContextEntry) -> None:
    db = work.change.session
    with _at(f"{path}.env"):
        await environment_named(db, entry.env)
    for index, name in enumerate(entry.schedules):
        with _at(f"{path}.schedules[{index}]"):
            await schedule_named(db, name)
    with _at(f"{path}.script"):
        script = await _script(db, entry)
    kept = ("env", "schedules", "replicas", "per_worker", "pool", "args", "policies")
    fields = {name: getattr(entry, name) for name in kept}
    with _at(path):
        form = NewContext(job=job.name, script=script, enabled=entry.enabled or None, **fields)
        await work.make(Contexts(), form)
    await _variables(work, f"{path}.config_keys", entry.config_keys, job=job.name, env=entry.env)
    for index, told in enumerate(entry.notifications):
        with _at(f"{path}.notifications[{index}].group"):
            await group_named(db, told.group)
        with _at(f"{path}.notifications[{index}]"):
            await work.make(Notifications(), NewNotification(job=job.name, env=entry.env, **told.model_dump()))


async def _script(db: AsyncSession, entry: ContextEntry) -> ScriptSpec | None:
    """The script that the entry refers to. Raises `Invalid` when there is none, or it can't tell which."""
    if entry.script is None:
        return None
    name, _, version = entry.script.partition("==")
    query = select(Script).where(Script.package_name == name, Script.package_version == version)
    found = [s for s in await db.scalars(query) if entry.entry in (None, s.entry)]
    if not found:
        raise Invalid(f"no script {entry.script} in this document")
    if len(found) > 1:
        raise Invalid(f"several scripts are {entry.script}; say which by `entry`")
    return ScriptSpec(package_name=name, package_version=version, entry=found[0].entry)


async def _variables(
    work: Recorded, path: str, variables: list[Variable], *, job: str | None = None, env: str | None = None
) -> None:
    for index, variable in enumerate(variables):
        with _at(f"{path}[{index}]"):
            form = NewConfigKey(name=variable.name, value=variable.value, job=job, env=env)
            await work.make(ConfigKeys(), form)


def _fields(entry: Form, form: type[Form]) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in form.model_fields if name in entry.model_fields_set}


@contextmanager
def _at(path: str) -> Iterator[None]:
    """A problem inside is told with the path."""
    try:
        yield
    except Problem as problem:
        raise type(problem)(f"{path}: {problem.detail}", path=path) from problem
