"""How many due times lie in a stretch of time: counted by days, so that a year of seconds costs as much as a year."""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise

from kirby_common.schedules.cron import Cron, parse_cron
from kirby_common.schedules.due import due_times
from kirby_common.schedules.spec import ScheduleSpec
from kirby_common.schedules.stretches import stretches

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def count_due(spec: ScheduleSpec, *, after: datetime, until: datetime) -> int:
    """The number of due times in (after, until]."""
    if until <= after:
        return 0
    match spec.kind:
        case "every":
            assert spec.every is not None
            anchor = spec.anchor or _EPOCH
            return (until - anchor) // spec.every - (after - anchor) // spec.every
        case "cron":
            edges = [after, *_edges(after, until)]
            whole = sum(_count_piece(spec, a, b) for a, b in pairwise(edges))
            return whole + _count(spec, edges[-1], until)
        case _:
            return sum(1 for _ in due_times(spec, after=after, until=until))


def _count(spec: ScheduleSpec, after: datetime, until: datetime) -> int:
    assert spec.expr is not None
    cron = parse_cron(spec.expr)
    return sum(
        (stretch.gap is not None) + _matches(cron, stretch.begin, stretch.end)
        for stretch in stretches(spec, cron, after=after, until=until)
    )


@lru_cache(maxsize=4096)
def _count_piece(spec: ScheduleSpec, after: datetime, until: datetime) -> int:
    """As `_count`, for what is asked again and again."""
    return _count(spec, after, until)


def _edges(after: datetime, until: datetime) -> Iterator[datetime]:
    """The years' ends between the two and the last midnight, to cut there."""
    first, last = after.astimezone(UTC), until.astimezone(UTC)
    for year in range(first.year + 1, last.year + 1):
        yield datetime(year, 1, 1, tzinfo=UTC)
    midnight = datetime.combine(last.date(), time(), UTC)
    if midnight > first and midnight.timetuple().tm_yday > 1:
        yield midnight


def _matches(cron: Cron, begin: datetime, end: datetime) -> int:
    """How many local times in [begin, end) match."""
    if end <= begin:
        return 0
    whole = _days(cron, begin.date(), end.date()) * cron.times_before(time.max)
    into = cron.times_before(end.time()) if _days(cron, end.date(), end.date() + timedelta(days=1)) else 0
    gone = cron.times_before(begin.time()) if _days(cron, begin.date(), begin.date() + timedelta(days=1)) else 0
    return whole + into - gone


def _days(cron: Cron, first: date, beyond: date) -> int:
    """How many days in [first, beyond) match."""
    total, month = 0, first.replace(day=1)
    while month < beyond:
        days = _days_of_month(cron.days, month.year, month.month)
        low = first.day if month < first else 1
        following = (month + timedelta(days=32)).replace(day=1)
        high = beyond.day if following > beyond else 32
        total += bisect_left(days, high) - bisect_left(days, low)
        month = following
    return total


@lru_cache(maxsize=4096)
def _days_of_month(days_expr: str, year: int, month: int) -> tuple[int, ...]:
    start = datetime(year, month, 1)  # noqa: DTZ001 (naive local time by intent)
    days = []
    for at in parse_cron(days_expr).after(start - timedelta(seconds=1)):
        if (at.year, at.month) != (year, month):
            break
        days.append(at.day)
    return tuple(days)
