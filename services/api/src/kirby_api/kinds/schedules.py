from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from kirby_common.durations import Duration, format_duration
from kirby_common.ledger.tables import Context, ContextSchedule, Environment, Job, Schedule
from kirby_common.schedules import BadSchedule, Dst, ScheduleSpec, first_due, validate
from pydantic import AwareDatetime, ConfigDict, Field, field_validator, model_validator
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.changes import Change
from kirby_api.kinds.kind import Form, Kind, View, sent
from kirby_api.kinds.names import Name, Text
from kirby_api.problems import Conflict, Invalid

Kindness = Literal["cron", "every", "at"]


class Timing(Form):
    """When: a cron expression in a zone, an interval, or one instant. `kind` may be left out."""

    kind: Kindness | None = None
    expr: Annotated[Text | None, Field(description="cron: 5 fields, or 6 with seconds first")] = None
    cron: Annotated[Text | None, Field(description="the same as expr", exclude=True)] = None
    tz: Annotated[Text, Field(description="an IANA zone")] = "UTC"
    dst: Dst = Dst.DEBIAN
    every: Annotated[Duration | None, Field(description="an interval, for example 10s")] = None
    anchor: Annotated[AwareDatetime | None, Field(description="where intervals are counted from; unset: 1970")] = None
    at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if self.cron is not None:
            self.expr, self.cron = self.expr or self.cron, None
        given = [k for k, v in (("cron", self.expr), ("every", self.every), ("at", self.at)) if v is not None]
        if len(given) != 1:
            raise ValueError(
                "a schedule is one of cron, every or at" + (f", not {' and '.join(given)}" if given else "")
            )
        if self.kind is not None and self.kind != given[0]:
            raise ValueError(f"the schedule says kind {self.kind}, but gives {given[0]}")
        self.kind = given[0]  # type: ignore[assignment]
        return self

    def spec(self) -> ScheduleSpec:
        assert self.kind is not None
        return ScheduleSpec(
            kind=self.kind, expr=self.expr, tz=self.tz, dst=self.dst, every=self.every, anchor=self.anchor, at=self.at
        )


class NewSchedule(Timing):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "nightly", "cron": "30 2 * * *", "tz": "Europe/Brussels"},
                {"name": "every-10-seconds", "every": "10s"},
                {"name": "once", "at": "2027-01-01T00:00:00Z"},
            ]
        }
    )

    name: Name


class SchedulePatch(Form):
    expr: Text | None = None
    tz: Text | None = None
    dst: Dst | None = None
    every: Duration | None = None
    anchor: AwareDatetime | None = None
    at: AwareDatetime | None = None


class ScheduleView(View):
    name: str
    kind: Kindness
    expr: str | None
    tz: str
    dst: str
    every: str | None
    anchor: datetime | None
    at: datetime | None
    contexts: list[str] = Field(default=[], description="job@env of those that use it")

    @field_validator("every", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return format_duration(value) if isinstance(value, timedelta) else value


def checked(spec: ScheduleSpec, *, now: datetime | None = None) -> ScheduleSpec:
    """The schedule, if it can be used and will ever be due. Raises `Invalid` with the sentence."""
    try:
        validate(spec)
        if first_due(spec, after=now or datetime.now(UTC)) is None:
            if spec.kind == "at" and spec.at is not None:
                raise Invalid(f"{spec.at.isoformat()} is over: the schedule would never fire")
            raise Invalid(f"'{spec.expr}' never fires: no date matches it")
    except BadSchedule as error:
        raise Invalid(str(error)) from error
    return spec


def columns(spec: ScheduleSpec) -> dict[str, Any]:
    return {
        "kind": spec.kind,
        "expr": spec.expr,
        "tz": spec.tz,
        "dst": spec.dst.value,
        "every_ms": None if spec.every is None else round(spec.every.total_seconds() * 1000),
        "anchor": spec.anchor,
        "at": spec.at,
    }


def spec_of(row: Schedule) -> ScheduleSpec:
    return ScheduleSpec(
        kind=row.kind,  # type: ignore[arg-type]
        expr=row.expr,
        tz=row.tz,
        dst=Dst(row.dst),
        every=None if row.every_ms is None else timedelta(milliseconds=row.every_ms),
        anchor=row.anchor,
        at=row.at,
    )


async def users_of(db: AsyncSession, ids: Sequence[Any]) -> dict[Any, list[str]]:
    """The contexts (`job@env`) that use each schedule."""
    found: dict[Any, list[str]] = {}
    query = (
        select(ContextSchedule.schedule_id, Job.name, Environment.name)
        .join(Context, Context.id == ContextSchedule.context_id)
        .join(Job, Job.id == Context.job_id)
        .join(Environment, Environment.id == Context.environment_id)
        .where(ContextSchedule.schedule_id.in_(ids))
        .order_by(Job.name, Environment.name)
    )
    for schedule_id, job, env in await db.execute(query):
        found.setdefault(schedule_id, []).append(f"{job}@{env}")
    return found


class Schedules(Kind[Schedule]):
    name, plural, title = "schedule", "schedules", "schedule"
    row = Schedule
    new, patch, view = NewSchedule, SchedulePatch, ScheduleView
    rules_too = True

    async def show(self, db: AsyncSession, rows: Sequence[Schedule]) -> list[View]:
        users = await users_of(db, [row.id for row in rows])
        return [
            ScheduleView(
                id=row.id, rev=row.rev, name=row.name, kind=row.kind, expr=row.expr, tz=row.tz, dst=row.dst,
                every=None if row.every_ms is None else format_duration(timedelta(milliseconds=row.every_ms)),
                anchor=row.anchor, at=row.at, contexts=users.get(row.id, []),
            )
            for row in rows
        ]  # fmt: skip

    async def make(self, change: Change, form: Any) -> Schedule:
        assert isinstance(form, NewSchedule)
        if await self.by_name(change.session, form.name) is not None:
            raise Conflict(f"schedule '{form.name}' exists")
        row = Schedule(name=form.name, **columns(checked(form.spec())))
        change.session.add(row)
        return row

    async def alter(self, change: Change, row: Schedule, form: Any) -> None:
        before = columns(spec_of(row))
        fields = sent(form)
        given = {k for k in ("expr", "every", "at") if fields.get(k) is not None}
        if given:
            fields = {"expr": None, "every": None, "at": None, **fields}
        merged = Timing.model_validate(
            {
                "expr": row.expr,
                "tz": row.tz,
                "dst": row.dst,
                "every": None if row.every_ms is None else timedelta(milliseconds=row.every_ms),
                "anchor": row.anchor,
                "at": row.at,
                **{k: v for k, v in fields.items() if v is not None or k in ("expr", "every", "at", "anchor")},
            }
        )
        after = columns(checked(merged.spec()))
        for name, value in after.items():
            if before[name] != value:
                setattr(row, name, value)

    async def remove(self, change: Change, row: Schedule) -> None:
        users = (await users_of(change.session, [row.id])).get(row.id, [])
        if users:
            raise Conflict(f"schedule '{row.name}' is used by {', '.join(users[:4])}; take it off those first")
        await change.session.delete(row)
