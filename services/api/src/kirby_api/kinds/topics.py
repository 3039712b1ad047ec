from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from kirby_common.durations import Duration
from kirby_common.ledger.tables import Topic
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.changes import Change
from kirby_api.kinds.kind import Form, Kind, View, sent
from kirby_api.kinds.names import Text, TopicName
from kirby_api.problems import Conflict

Freshness = Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=3650))]


class NewTopic(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "weather.raw", "description": "one a day"}]})

    name: TopicName
    description: Text = ""
    fresh_within: Freshness | None = None


class TopicPatch(Form):
    description: Text | None = None
    fresh_within: Freshness | None = None


class TopicView(View):
    """`fresh_within`: when no message comes for so long, in an environment where the topic is, an alert tells."""

    name: str
    description: str
    fresh_within: Duration | None


class Topics(Kind[Topic]):
    name, plural, title = "topic", "topics", "topic"
    row = Topic
    new, patch, view = NewTopic, TopicPatch, TopicView

    async def show(self, db: AsyncSession, rows: Sequence[Topic]) -> list[View]:
        return [
            TopicView(
                id=row.id, rev=row.rev, name=row.name, description=row.description,
                fresh_within=None if row.fresh_within_ms is None else timedelta(milliseconds=row.fresh_within_ms),
            )
            for row in rows
        ]  # fmt: skip

    async def make(self, change: Change, form: Any) -> Topic:
        if await self.by_name(change.session, form.name) is not None:
            raise Conflict(f"topic '{form.name}' exists")
        row = Topic(name=form.name, description=form.description, fresh_within_ms=_ms(form.fresh_within))
        change.session.add(row)
        return row

    async def alter(self, change: Change, row: Topic, form: Any) -> None:
        fields = sent(form)
        row.description = fields.get("description", row.description) or ""
        if "fresh_within" in fields:
            row.fresh_within_ms = _ms(fields["fresh_within"])


def _ms(span: timedelta | None) -> int | None:
    return None if span is None else round(span.total_seconds() * 1000)
