from collections.abc import Sequence
from typing import Any

from kirby_common.ledger.tables import Context, Environment, Job
from pydantic import ConfigDict, Field
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller, Place
from kirby_api.access.visible import readable
from kirby_api.changes import Change
from kirby_api.kinds.kind import Form, Kind, View, sent
from kirby_api.kinds.names import EnvironmentName, Text, TopicPrefix
from kirby_api.kinds.pausing import set_paused
from kirby_api.problems import Conflict


class NewEnvironment(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "test", "topic_prefix": "test."}]})

    name: EnvironmentName
    topic_prefix: TopicPrefix | None = Field(
        default=None, description="before topics; unset: none for prod, else NAME."
    )
    kafka_bootstrap_servers: Text | None = Field(default=None, description="its cluster; unset: the suite's")


class EnvironmentPatch(Form):
    topic_prefix: TopicPrefix | None = None
    kafka_bootstrap_servers: Text | None = None
    paused: bool | None = None
    pause_reason: Text | None = None


class EnvironmentView(View):
    name: str
    topic_prefix: str
    kafka_bootstrap_servers: str | None
    paused: bool
    pause_reason: str | None
    paused_by: str | None


def default_prefix(name: str) -> str:
    """What stands before an environment's topics: nothing for `prod`."""
    return "" if name == "prod" else f"{name}."


class Environments(Kind[Environment]):
    name, plural, title = "environment", "environments", "environment"
    row = Environment
    new, patch, view = NewEnvironment, EnvironmentPatch, EnvironmentView
    rules_too = True

    async def show(self, db: AsyncSession, rows: Sequence[Environment]) -> list[View]:
        return [EnvironmentView.model_validate(row, from_attributes=True) for row in rows]

    async def make(self, change: Change, form: Any) -> Environment:
        assert isinstance(form, NewEnvironment)
        if await self.by_name(change.session, form.name) is not None:
            raise Conflict(f"environment '{form.name}' exists")
        prefix = default_prefix(form.name) if form.topic_prefix is None else form.topic_prefix
        row = Environment(
            name=form.name, topic_prefix=prefix, kafka_bootstrap_servers=form.kafka_bootstrap_servers or None
        )
        change.session.add(row)
        return row

    async def alter(self, change: Change, row: Environment, form: Any) -> None:
        fields = sent(form)
        prefix = fields.pop("topic_prefix", row.topic_prefix)
        row.topic_prefix = default_prefix(row.name) if prefix is None else prefix
        set_paused(row, fields, author=change.author)
        for name, value in fields.items():
            setattr(row, name, value or None)

    async def remove(self, change: Change, row: Environment) -> None:
        jobs = (
            await change.session.scalars(
                select(Job.name)
                .join(Context, Context.job_id == Job.id)
                .where(Context.environment_id == row.id)
                .limit(4)
            )
        ).all()
        if jobs:
            raise Conflict(f"environment '{row.name}' is used by {', '.join(jobs)}; remove those contexts first")
        await change.session.delete(row)

    def visible(self, caller: Caller) -> ColumnElement[bool]:
        return readable(caller, env=Environment.name)

    async def place(self, db: AsyncSession, row: Environment) -> Place:
        return Place(env=row.name)

    async def place_of_new(self, db: AsyncSession, form: Any) -> Place:
        return Place(env=form.name)
