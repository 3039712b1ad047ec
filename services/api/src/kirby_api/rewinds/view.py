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
Mode = Literal["in-place", "shadow"]
State = Literal[
    "draining", "running", "paused", "comparing", "ready", "promoting", "dropping",
    "done", "promoted", "dropped", "cancelled", "failed",
]  # fmt: skip
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
    mode: Mode = Field(
        default="in-place",
        description="in-place: the daemon's own group moves back, and live messages wait; shadow: a run beside the"
        " daemon writes to topics and States of its own, to be compared, and promoted or dropped",
    )
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
    mode: Mode
    job: str
    env: str
    group: str
    messages: int = Field(description="offsets in all parts; marks of transactions are counted")
    parts: list[PartView]
    waiting: int = Field(description="live messages that wait already; with those that come they wait until it is done")
    lasts_s: float | None = Field(description="how long it takes at the rate that was asked for")
    touched_topics: list[str] = Field(description="what is downstream, as far as it was seen or registered")
    touched_jobs: list[str]
    touched_others: list[str] = Field(description="files, web services and States of these jobs, as `file:…`")
    warnings: list[str]


class ShownOutput(BaseModel):
    place: str = Field(description="partition:offset in its topic")
    value: str | None


class OutputExample(BaseModel):
    kind: Literal["changed", "only_original", "only_shadow"]
    key: str | None
    original: ShownOutput | None
    shadow: ShownOutput | None


class TopicComparison(BaseModel):
    """What was made again of one topic's messages, and how it compares with what was made before."""

    topic: str
    same: int
    changed: int
    only_original: int
    only_shadow: int
    examples: list[OutputExample]


class KeyExample(BaseModel):
    kind: Literal["changed", "only_shadow"]
    key: str
    original: str | None
    shadow: str | None


class StateComparison(BaseModel):
    """The keys that were set in a State, held against the values that the State has now."""

    state: str
    same: int
    changed: int
    only_shadow: int
    examples: list[KeyExample]


class Comparison(BaseModel):
    at: datetime
    topics: list[TopicComparison]
    states: list[StateComparison]


class AskedProcesses(Form):
    processes: list[Annotated[str, Field(pattern="^[0-9a-f]{16}$")]] = Field(max_length=10_000)


class ToldProcess(BaseModel):
    process: str
    job: str
    env: str
    reads: str


class ToldProcesses(BaseModel):
    """Those that have announced themselves."""

    items: list[ToldProcess]


class RewindView(BaseModel):
    id: UUID
    mode: Mode
    job: str
    env: str
    namespace: str
    target: str
    group: str
    from_: datetime = Field(alias="from", serialization_alias="from")
    to: datetime | None
    rate: float | None
    state: State
    wanted: Literal["run", "pause", "cancel"] = Field(description="what follows when it is draining")
    reason: str | None
    total: int = Field(description="offsets in all parts; 0 until the replicas are down")
    done: int
    parts: list[PartView]
    run_id: UUID | None = Field(description="of a shadow: the run that is under way, or was last")
    comparison: Comparison | None = Field(description="of a shadow: as it was compared last")
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
        id=row.id, mode=row.mode, run_id=row.run_id, comparison=row.comparison,
        job=row.job, env=row.env, namespace=row.namespace, target=row.target, group=row.group_name,
        from_=row.range_from, to=row.range_to, rate=row.rate, state=row.state, wanted=row.wanted, reason=row.reason,
        total=row.total, done=row.done, parts=parts, requested_by=row.requested_by, changed_by=row.changed_by,
        rev=row.rev, created_at=row.created_at, started_at=row.started_at, ended_at=row.ended_at,
    )  # fmt: skip
