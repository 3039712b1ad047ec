"""The REST forms of a backfill."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from kirby_common.ledger.backfills import BackfillRow
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from kirby_api.kinds.kind import Form
from kirby_api.kinds.names import EnvironmentName, Name, Text
from kirby_api.routes.previews import instant

Instant = Annotated[AwareDatetime, BeforeValidator(instant)]
Existing = Literal["leave", "failed", "anew"]
_SAMPLE: dict[str, Any] = {"job": "weather", "env": "prod", "from": "2026-11-01", "to": "2026-11-08", "concurrency": 2}


class NewBackfill(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [_SAMPLE]}, populate_by_name=True)

    job: Name
    env: EnvironmentName
    from_: Instant = Field(alias="from", description="the first instant of the range")
    to: Instant | None = Field(default=None, description="the instant at which the range has ended; unset: now")
    concurrency: int = Field(default=1, ge=1, le=100, description="how many of its runs at a time")
    order: Literal["oldest", "newest"] = Field(default="oldest", description="which due times come first")
    existing: Existing = Field(
        default="leave",
        description="due times that have runs: leave those that were ever started; failed: run those that failed"
        " again; anew: run all again",
    )
    rerun: bool = Field(default=False, description="flag its runs as re-runs (KIRBY_RERUN)")


class BackfillCancel(Form):
    reason: Text | None = None
    kill: bool = Field(default=False, description="kill the runs that have started too")


class BackfillReason(Form):
    reason: Text | None = None


class DueTime(BaseModel):
    """`status` and `run_id` are those of the newest run that the due time has already."""

    due_at: datetime
    runs: bool = Field(description="whether the backfill would run it")
    status: str | None = None
    run_id: UUID | None = None


class BackfillPreview(BaseModel):
    job: str
    env: str
    total: int = Field(description="due times in the range")
    to_run: int
    left_alone: int = Field(description="due times that have runs already and are left as they are")
    first: list[DueTime] = Field(description="the first 50, in the order of time")
    last: list[DueTime] = Field(description="the last 50, without those in `first`")
    waits_for: str | None = Field(description="why none could start now, if so")


class BackfillView(BaseModel):
    id: UUID
    job: str
    env: str
    namespace: str
    from_: datetime = Field(alias="from", serialization_alias="from")
    to: datetime
    order: str
    existing: str
    rerun: bool
    concurrency: int
    state: Literal["running", "paused", "cancelled", "done"]
    reason: str | None = Field(description="why it is paused or cancelled, or why its runs wait")
    total: int = Field(description="due times in the range when it was asked for")
    left_alone: int = Field(description="so many of them had runs already")
    waiting: int = Field(description="due times whose runs have not been let go, those without a row included")
    counts: dict[str, int] = Field(description="its runs by status, those that wait for it left out")
    running: list[UUID] = Field(default=[], description="after an order: its runs that go on, starting, too late")
    requested_by: str
    changed_by: str | None = Field(description="who gave the last order")
    rev: int
    created_at: datetime
    ended_at: datetime | None

    model_config = ConfigDict(populate_by_name=True)


def backfill_view(row: BackfillRow, counts: Mapping[str, int], *, running: Sequence[UUID] = ()) -> BackfillView:
    """`counts` are those of its runs by status, held ones as HELD."""
    others = {status: number for status, number in counts.items() if status != "HELD"}
    ended = row.state in ("cancelled", "done")
    waiting = 0 if ended else max(row.total - row.left_alone - sum(others.values()), 0)
    return BackfillView(
        id=row.id, job=row.job, env=row.env, namespace=row.namespace, from_=row.range_from, to=row.range_to,
        order="newest" if row.newest_first else "oldest", existing=row.existing, rerun=row.rerun,
        concurrency=row.concurrency, state=row.state, reason=row.reason, total=row.total, left_alone=row.left_alone,
        waiting=waiting, counts=others, running=list(running), requested_by=row.requested_by,
        changed_by=row.changed_by, rev=row.rev, created_at=row.created_at, ended_at=row.ended_at,
    )  # fmt: skip
