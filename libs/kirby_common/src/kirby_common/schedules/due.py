"""The due times of a schedule in a stretch of time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from kirby_common.schedules.cron import Cron, parse_cron
from kirby_common.schedules.localtime import zone
from kirby_common.schedules.spec import BadSchedule, ScheduleSpec
from kirby_common.schedules.stretches import stretches

_SHORTEST_EVERY = timedelta(seconds=1)
_FIRST_LOOK, _LONGEST_LOOK = timedelta(days=1), timedelta(days=366)
_LAST_YEAR = 2130
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def validate(spec: ScheduleSpec) -> None:
    """Raises `BadSchedule` when the schedule can't be used at all."""
    match spec.kind:
        case "cron":
            if spec.expr is None:
                raise BadSchedule("a cron schedule needs an expression")
            parse_cron(spec.expr)
            zone(spec.tz)
        case "every":
            if spec.every is None or spec.every < _SHORTEST_EVERY:
                raise BadSchedule("an `every` schedule needs an interval of at least 1s")
        case "at":
            if spec.at is None or spec.at.tzinfo is None:
                raise BadSchedule("an `at` schedule needs a time with its zone, for example 2026-12-24T18:00:00Z")


def due_times(spec: ScheduleSpec, *, after: datetime, until: datetime) -> Iterator[datetime]:
    """The instants in (after, until] at which the schedule is due: aware UTC, in order, each once."""
    match spec.kind:
        case "cron":
            assert spec.expr is not None
            yield from _cron_times(spec, parse_cron(spec.expr), after, until)
        case "every":
            assert spec.every is not None
            yield from _interval_times(spec.every, spec.anchor or _EPOCH, after, until)
        case "at":
            if spec.at is not None and after < spec.at <= until:
                yield spec.at.astimezone(UTC)


def first_due(spec: ScheduleSpec, *, after: datetime) -> datetime | None:
    """The next due instant later than `after`, or None when there is none any more."""
    start, look = after, _FIRST_LOOK
    while start.year < _LAST_YEAR:
        if spec.kind == "at" and spec.at is not None and start >= spec.at:
            return None
        end = start + look
        found = next(due_times(spec, after=start, until=end), None)
        if found is not None:
            return found
        start, look = end, min(look * 8, _LONGEST_LOOK)
    return None


def preview(spec: ScheduleSpec, *, start: datetime, n: int) -> list[datetime]:
    """The first `n` due instants later than `start`. Raises `BadSchedule`."""
    validate(spec)

    def walk() -> Iterator[datetime]:
        at: datetime | None = start
        while at is not None and (at := first_due(spec, after=at)) is not None:
            yield at

    return list(islice(walk(), n))


def _interval_times(every: timedelta, anchor: datetime, after: datetime, until: datetime) -> Iterator[datetime]:
    number = (after - anchor) // every + 1
    while (at := anchor + number * every) <= until:
        yield at.astimezone(UTC)
        number += 1


def _cron_times(spec: ScheduleSpec, cron: Cron, after: datetime, until: datetime) -> Iterator[datetime]:
    for stretch in stretches(spec, cron, after=after, until=until):
        if stretch.gap is not None:
            yield stretch.gap.replace(tzinfo=UTC)
        for local in cron.after(stretch.begin - timedelta(microseconds=1)):
            if local >= stretch.end:
                break
            yield (local - stretch.offset).replace(tzinfo=UTC)
