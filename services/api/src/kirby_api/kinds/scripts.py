from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from kirby_common.ledger.tables import Context, Lock, Script, ScriptTopic, Topic
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.changes import Change
from kirby_api.kinds.kind import Form, Kind, View, sent
from kirby_api.kinds.names import Entry, PackageName, PackageVersion, TopicName
from kirby_api.kinds.references import script_of
from kirby_api.kinds.summaries import ContextSummary, summaries
from kirby_api.problems import Conflict, Invalid


class NewScript(Form):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"package_name": "weather-sensor", "package_version": "1.0.0"}]}
    )

    package_name: PackageName
    package_version: PackageVersion
    entry: Entry | None = None
    sources: list[TopicName] = []
    destinations: list[TopicName] = []


class ScriptPatch(Form):
    sources: list[TopicName] | None = None
    destinations: list[TopicName] | None = None


class LockView(BaseModel):
    status: str
    error: str | None


class ScriptView(View):
    package_name: str
    package_version: str
    entry: str | None
    first_seen: datetime
    last_seen: datetime
    lock: LockView | None
    sources: list[str]
    destinations: list[str]
    contexts: list[ContextSummary]


class Scripts(Kind[Script]):
    name, plural, title = "script", "scripts", "script"
    row = Script
    new, patch, view = NewScript, ScriptPatch, ScriptView
    filters = ("package_name",)

    @property
    def sort(self) -> ColumnElement[Any]:
        return Script.package_name  # type: ignore[return-value]

    def sort_value(self, row: Script) -> Any:
        return row.package_name

    def label(self, row: Script) -> str:
        return f"script {row.package_name} {row.package_version}"

    def narrowed(self, query: Select[Script], filters: Mapping[str, str]) -> Select[Script]:
        if "package_name" in filters:
            query = query.where(Script.package_name == filters["package_name"])
        return query

    async def by_name(self, db: AsyncSession, ref: str) -> Script | None:
        package, _, version = ref.replace("==", "@").rpartition("@")
        query = select(Script).where(Script.package_name == (package or version))
        if package:
            query = query.where(Script.package_version == version)
        found = (await db.scalars(query.limit(2))).all()
        if len(found) > 1:
            raise Conflict(f"there are several scripts '{ref}'; say which by its id")
        return found[0] if found else None

    async def show(self, db: AsyncSession, rows: Sequence[Script]) -> list[View]:
        ids = [row.id for row in rows]
        contexts: dict[Any, list[ContextSummary]] = {}
        for context, summary in await summaries(db, Context.script_id.in_(ids)):
            contexts.setdefault(context.script_id, []).append(summary)
        topics = await _topics_of(db, ids)
        locks = await _locks_of(db, rows)
        return [
            ScriptView(
                id=row.id, rev=row.rev, package_name=row.package_name, package_version=row.package_version,
                entry=row.entry, first_seen=row.first_seen, last_seen=row.last_seen,
                lock=locks.get((row.package_name, row.package_version)),
                sources=topics.get((row.id, "source"), []), destinations=topics.get((row.id, "destination"), []),
                contexts=contexts.get(row.id, []),
            )
            for row in rows
        ]  # fmt: skip

    async def make(self, change: Change, form: Any) -> Script:
        assert isinstance(form, NewScript)
        db = change.session
        if await script_of(db, form.package_name, form.package_version, entry=form.entry) is not None:
            raise Conflict(f"script {form.package_name} {form.package_version} exists")
        row = Script(package_name=form.package_name, package_version=form.package_version, entry=form.entry)
        db.add(row)
        await db.flush()
        await set_topics(db, row, "source", form.sources)
        await set_topics(db, row, "destination", form.destinations)
        return row

    async def alter(self, change: Change, row: Script, form: Any) -> None:
        fields = sent(form)
        for name, direction in (("sources", "source"), ("destinations", "destination")):
            if fields.get(name) is not None:
                await set_topics(change.session, row, direction, fields[name])

    async def remove(self, change: Change, row: Script) -> None:
        users = [f"{s.job}@{s.env}" for _, s in await summaries(change.session, Context.script_id == row.id)]
        if users:
            raise Conflict(f"{self.label(row)} is used by {', '.join(users[:4])}; give those another version first")
        await change.session.delete(row)


async def set_topics(db: AsyncSession, row: Script, direction: str, names: Iterable[str]) -> None:
    """Replaces the script's topics of one direction. Raises `Invalid` for an unknown topic."""
    wanted = list(dict.fromkeys(names))
    known = {t.name: t.id for t in await db.scalars(select(Topic).where(Topic.name.in_(wanted)))}
    for name in wanted:
        if name not in known:
            raise Invalid(f"there is no topic '{name}'")
    await db.execute(delete(ScriptTopic).where(ScriptTopic.script_id == row.id, ScriptTopic.direction == direction))
    db.add_all([ScriptTopic(script_id=row.id, topic_id=known[name], direction=direction) for name in wanted])
    await db.flush()


async def script_for(change: Change, package: str, version: str, *, entry: str | None) -> Script:
    """The script of this version, made with its revision when it is new; seen now."""
    db = change.session
    found = await script_of(db, package, version, entry=entry)
    if found is not None:
        found.last_seen = func.clock_timestamp()
        await db.flush()
        return found
    kind = Scripts()
    row = await kind.make(change, NewScript(package_name=package, package_version=version, entry=entry))
    view = await kind.one(db, row)
    await change.record(kind.name, row.id, rev=row.rev, action="create", value=view.model_dump(mode="json"))
    return row


async def _topics_of(db: AsyncSession, ids: Sequence[Any]) -> dict[tuple[Any, str], list[str]]:
    found: dict[tuple[Any, str], list[str]] = {}
    query = (
        select(ScriptTopic.script_id, ScriptTopic.direction, Topic.name)
        .join(Topic, Topic.id == ScriptTopic.topic_id)
        .where(ScriptTopic.script_id.in_(ids))
        .order_by(Topic.name)
    )
    for script_id, direction, name in await db.execute(query):
        found.setdefault((script_id, direction), []).append(name)
    return found


async def _locks_of(db: AsyncSession, rows: Sequence[Script]) -> dict[tuple[str, str], LockView]:
    query = select(Lock).where(Lock.package_name.in_([row.package_name for row in rows]))
    return {
        (lock.package_name, lock.package_version): LockView(status=lock.status, error=lock.error)
        for lock in await db.scalars(query)
    }
