"""The REST forms of a rewind."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from kirby_common.ledger.rewinds import RewindRow
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from kirby_api.backfills.view import BackfillPreview, BackfillView
from kirby_api.kinds.kind import Form
from kirby_api.kinds.names import EnvironmentName, Name, Text
from kirby_api.routes.previews import instant

Instant = Annotated[AwareDatetime, BeforeValidator(instant)]
Rate = Annotated[float, Field(gt=0, le=1_000_000, description="so many messages a second at most")]
_SAMPLE: dict[str, Any] = {"target": "weather.raw", "from": "2026-11-01T12:00", "rate": 500}


class NewRewind(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [_SAMPLE]}, populate_by_name=True)

    target: str = Field(
        min_length=1,
        max_length=249,
        description="a topic: the daemons that read it; or a job: a daemon with all that it reads, or a scheduled job,"
        " whose due times are run again",
    )
    env: EnvironmentName | None = Field(
        default=None, description="unset: the topic is the broker's name, with the prefix of its environment"
    )
    job: Name | None = Field(default=None, description="of a topic's readers only this one")
    from_: Instant = Field(alias="from", description="from the first message at or after this instant")
    to: Instant | None = Field(default=None, description="until the first message at or after it; unset: all")
    rate: Rate | None = None
    partly: bool = Field(default=False, description="what is left will do when older messages have been deleted")


class RewindOrder(Form):
    reason: Text | None = None


class Throttle(Form):
    rate: Rate | None = Field(default=None, description="unset: as fast as it goes")


class PartView(BaseModel):
    """A stretch of a partition, `[from, to)`."""

    topic: str
    partition: int
    from_: int = Field(alias="from", serialization_alias="from")
    to: int | None
    position: int

    model_config = ConfigDict(populate_by_name=True)


class RewindPreview(BaseModel):
    job: str
    env: str
    group: str
    messages: int = Field(description="offsets in all parts; marks of transactions are counted")
    parts: list[PartView]
    waiting: int = Field(description="live messages that wait already; with those that come they wait until it is done")
    lasts_s: float | None = Field(description="how long live work waits at the rate that was asked for")
    touched_topics: list[str] = Field(description="what is downstream, as far as it was seen or registered")
    touched_jobs: list[str]
    touched_others: list[str] = Field(description="files, web services and States of these jobs, as `file:…`")
    warnings: list[str]


class RewindView(BaseModel):
    id: UUID
    job: str
    env: str
    namespace: str
    target: str
    group: str
    from_: datetime = Field(alias="from", serialization_alias="from")
    to: datetime | None
    rate: float | None
    state: Literal["draining", "running", "paused", "done", "cancelled", "failed"]
    wanted: Literal["run", "pause", "cancel"] = Field(description="what follows when it is draining")
    reason: str | None
    total: int = Field(description="offsets in all parts; 0 until the replicas are down")
    done: int
    parts: list[PartView]
    requested_by: str
    changed_by: str | None
    rev: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    model_config = ConfigDict(populate_by_name=True)


class RewindPreviews(BaseModel):
    """What would be done: daemons that process again, or a scheduled job that runs again."""

    items: list[RewindPreview]
    backfill: BackfillPreview | None = None


class Rewinds(BaseModel):
    """What was begun: rewinds of daemons, or the backfill of a scheduled job."""

    items: list[RewindView]
    backfill: BackfillView | None = None


def rewind_view(row: RewindRow) -> RewindView:
    parts = [
        PartView(
            topic=part["topic"],
            partition=part["partition"],
            from_=part["start"],
            to=part["to"],
            position=row.positions.get(f"{part['topic']}:{part['partition']}", part["start"]),
        )
        for part in row.parts
    ]
    return RewindView(
        id=row.id, job=row.job, env=row.env, namespace=row.namespace, target=row.target, group=row.group_name,
        from_=row.range_from, to=row.range_to, rate=row.rate, state=row.state, wanted=row.wanted, reason=row.reason,
        total=row.total, done=row.done, parts=parts, requested_by=row.requested_by, changed_by=row.changed_by,
        rev=row.rev, created_at=row.created_at, started_at=row.started_at, ended_at=row.ended_at,
    )  # fmt: skip
