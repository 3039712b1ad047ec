from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from kirby_common.durations import Duration, format_duration
from kirby_common.ledger.tables import Context, Environment, Job, ScheduleException
from kirby_common.ledger.windows import Window, covers_all_for_ever, now_or_next, overlaps_itself
from kirby_common.schedules import BadSchedule, ScheduleSpec, validate
from pydantic import AwareDatetime, ConfigDict, Field
from sqlalchemy import ColumnElement, String, cast, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import ANYWHERE, Caller, Place
from kirby_api.access.visible import readable, readable_context, readable_job
from kirby_api.changes import Change
from kirby_api.kinds.contexts import Contexts
from kirby_api.kinds.environments import Environments
from kirby_api.kinds.jobs import Jobs
from kirby_api.kinds.kind import Form, Kind, View, sent
from kirby_api.kinds.names import Text
from kirby_api.kinds.schedules import Schedules
from kirby_api.problems import Invalid, NotFound

Scope = Literal["job", "context", "label", "schedule", "environment"]
_SHORTEST_REF = 8
_KINDS: dict[str, Kind[Any]] = {
    "job": Jobs(),
    "context": Contexts(),
    "schedule": Schedules(),
    "environment": Environments(),
}


class Opening(Form):
    """When an exception is open, and what it does then."""

    every_nth: int | None = Field(default=None, ge=2, le=10_000, description="slow: every Nth due time is run")
    cron: Text | None = Field(default=None, description="slow: run at the times of this expression instead")
    end: AwareDatetime | None = Field(default=None, description="unset: until it is removed")
    recurrence: Text | None = Field(default=None, description="cron: it opens at each of these times, in tz")
    lasts: Duration | None = Field(default=None, ge=timedelta(seconds=1), description="with recurrence: for so long")
    for_ever: bool = Field(default=False, description="confirms a pause that would never end by itself")


class NewException(Opening):
    """A window in which due times are skipped (`pause`) or thinned out (`slow`)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"scope": "job", "target": "weather", "effect": "slow", "every_nth": 5, "start": "2026-12-01T00:00:00Z",
                 "end": "2026-12-02T00:00:00Z", "reason": "the source is slow"},
                {"scope": "environment", "target": "prod", "effect": "pause", "recurrence": "0 2 * * 0", "lasts": "3h",
                 "tz": "Europe/Brussels", "reason": "the weekly maintenance of the database"},
            ]
        }
    )  # fmt: skip

    scope: Scope
    target: Text = Field(description="a name, job@env for a context, key=value for a label")
    effect: Literal["pause", "slow"] = "pause"
    start: AwareDatetime | None = Field(default=None, description="unset: now")
    tz: Text = Field(default="UTC", description="an IANA zone, of recurrence and cron")
    reason: Text = Field(min_length=1)


class ExceptionPatch(Opening):
    start: AwareDatetime | None = None
    tz: Text | None = None
    reason: Text | None = Field(default=None, min_length=1)


class ExceptionView(View):
    scope: Scope
    target: str
    effect: str
    every_nth: int | None
    cron: str | None
    start: datetime
    end: datetime | None
    recurrence: str | None
    lasts: str | None
    tz: str
    reason: str
    author: str
    state: Literal["active", "upcoming", "over"]
    opens_at: datetime | None = Field(description="of the opening that goes on, or the next one")
    closes_at: datetime | None


class Exceptions(Kind[ScheduleException]):
    name, plural, title = "exception", "exceptions", "schedule exception"
    row = ScheduleException
    new, patch, view = NewException, ExceptionPatch, ExceptionView
    rules_too = True

    @property
    def sort(self) -> ColumnElement[Any]:
        return ScheduleException.start  # type: ignore[return-value]

    def sort_value(self, row: ScheduleException) -> Any:
        return row.start.isoformat()

    def cursor_bounds(self, sort: Any, last: Any) -> tuple[Any, Any]:
        return Contexts().cursor_bounds(sort, last)

    def label(self, row: ScheduleException) -> str:
        return f"schedule exception {row.id}"

    async def by_name(self, db: AsyncSession, ref: str) -> ScheduleException | None:
        """The one whose id begins so: the reasons of skipped runs name it by its first eight characters."""
        if len(ref) < _SHORTEST_REF:
            return None
        begins = cast(ScheduleException.id, String).startswith(ref, autoescape=True)
        found = (await db.scalars(select(ScheduleException).where(begins).limit(2))).all()
        return found[0] if len(found) == 1 else None

    async def show(self, db: AsyncSession, rows: Sequence[ScheduleException]) -> list[View]:
        return [
            ExceptionView(
                id=row.id, rev=row.rev, scope=row.scope, target=await _target(db, row), effect=row.effect,
                every_nth=row.every_nth, cron=row.cron, start=row.start, end=row.end, recurrence=row.recurrence,
                lasts=None if row.lasts_ms is None else format_duration(timedelta(milliseconds=row.lasts_ms)),
                tz=row.tz, reason=row.reason, author=row.author, **_now(row),
            )
            for row in rows
        ]  # fmt: skip

    def visible(self, caller: Caller) -> ColumnElement[bool]:
        envs = select(cast(Environment.id, String)).where(readable(caller, env=Environment.name))
        jobs = select(cast(Job.id, String)).where(readable_job(caller, Job.id))
        contexts = select(cast(Context.id, String)).where(readable_context(caller, Context.id))
        scope, ref = ScheduleException.scope, ScheduleException.scope_ref
        return or_(
            scope.in_(["label", "schedule"]),
            (scope == "environment") & ref.in_(envs),
            (scope == "job") & ref.in_(jobs),
            (scope == "context") & ref.in_(contexts),
        )

    async def make(self, change: Change, form: Any) -> ScheduleException:
        assert isinstance(form, NewException)
        row = ScheduleException(
            scope=form.scope, scope_ref=await _reference(change.session, form.scope, form.target), effect=form.effect,
            every_nth=form.every_nth, cron=form.cron, start=form.start or datetime.now(UTC), end=form.end,
            recurrence=form.recurrence, lasts_ms=_ms(form.lasts), tz=form.tz, reason=form.reason,
            author=change.author,
        )  # fmt: skip
        _check(row, for_ever=form.for_ever)
        change.session.add(row)
        return row

    async def place(self, db: AsyncSession, row: ScheduleException) -> Place:
        return await _place(db, row.scope, row.scope_ref)

    async def place_of_new(self, db: AsyncSession, form: Any) -> Place:
        return await _place(db, form.scope, await _reference(db, form.scope, form.target))

    async def alter(self, change: Change, row: ScheduleException, form: Any) -> None:
        fields = sent(form)
        was_endless = covers_all_for_ever(window_of(row), now=datetime.now(UTC))
        for name in ("every_nth", "cron", "end", "recurrence"):
            if name in fields:
                setattr(row, name, fields[name])
        if "lasts" in fields:
            row.lasts_ms = _ms(fields["lasts"])
        for name in ("start", "tz", "reason"):
            if fields.get(name):
                setattr(row, name, fields[name])
        _check(row, for_ever=form.for_ever or was_endless)


def window_of(row: ScheduleException) -> Window:
    """The exception as the ledger judges by it."""
    return Window(
        id=str(row.id), effect=row.effect, start=row.start, end=row.end, reason=row.reason,  # type: ignore[arg-type]
        author=row.author, every_nth=row.every_nth, cron=row.cron, recurrence=row.recurrence,
        lasts=None if row.lasts_ms is None else timedelta(milliseconds=row.lasts_ms), tz=row.tz,
    )  # fmt: skip


def _now(row: ScheduleException) -> dict[str, Any]:
    now = datetime.now(UTC)
    opening = now_or_next(window_of(row), now=now)
    if opening is None:
        return {"state": "over", "opens_at": None, "closes_at": None}
    state = "active" if opening.start <= now else "upcoming"
    return {"state": state, "opens_at": opening.start, "closes_at": opening.end}


def _ms(lasts: timedelta | None) -> int | None:
    return None if lasts is None else round(lasts.total_seconds() * 1000)


def _check(row: ScheduleException, *, for_ever: bool) -> None:
    """Raises `Invalid` for an exception that can't be meant."""
    if row.end is not None and row.end <= row.start:
        raise Invalid("end: the window must end after it starts")
    if row.effect == "pause" and (row.every_nth is not None or row.cron is not None):
        raise Invalid("effect: one that pauses has neither every_nth nor cron; say slow to slow down")
    if row.effect == "slow" and (row.every_nth is None) == (row.cron is None):
        raise Invalid("effect: one that slows down needs every_nth or cron, and only one of them")
    if (row.recurrence is None) != (row.lasts_ms is None):
        raise Invalid("recurrence: one that recurs says when it opens and how long it lasts, both")
    for name, expr in (("cron", row.cron), ("recurrence", row.recurrence)):
        try:
            validate(ScheduleSpec(kind="cron", expr=expr or "* * * * *", tz=row.tz))
        except BadSchedule as error:
            raise Invalid(f"{name if expr else 'tz'}: {error}") from error
    _check_openings(window_of(row), for_ever=for_ever)


def _check_openings(window: Window, *, for_ever: bool) -> None:
    if overlaps_itself(window, now=window.start):
        raise Invalid("lasts: it opens again before it closes; let it last no longer than from one opening to the next")
    if now_or_next(window, now=window.start) is None:
        raise Invalid("recurrence: it never opens between its start and its end")
    if not for_ever and covers_all_for_ever(window, now=window.start):
        raise Invalid("end: it would pause for ever; give it an end, or confirm it with for_ever (--for-ever)")


async def _reference(db: AsyncSession, scope: str, target: str) -> str:
    if scope == "label":
        if "=" not in target:
            raise Invalid("target: a label is written key=value")
        return target
    try:
        return str((await _KINDS[scope].find(db, target)).id)
    except NotFound as error:
        raise Invalid(f"target: {error.detail}") from error


async def _place(db: AsyncSession, scope: str, ref: str) -> Place:
    """Where what it is on is; a label or a schedule may be on anything."""
    kind = _KINDS.get(scope)
    found = None if kind is None else await kind.by_id(db, ref)
    return ANYWHERE if kind is None or found is None else await kind.place(db, found)


async def _target(db: AsyncSession, row: ScheduleException) -> str:
    kind = _KINDS.get(row.scope)
    found = None if kind is None else await kind.by_id(db, row.scope_ref)
    if kind is None or found is None:
        return row.scope_ref
    view: Any = (await kind.show(db, [found]))[0]
    return f"{view.job}@{view.env}" if row.scope == "context" else str(view.name)
