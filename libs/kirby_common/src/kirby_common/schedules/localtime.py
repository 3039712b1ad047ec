"""Which instants a zone's local times are: the segments of constant offset between clock changes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kirby_common.schedules.spec import BadSchedule

_STEP = timedelta(hours=6)
_BACK = timedelta(days=2)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Segment:
    """Instants from `start` (inclusive) to `end` (exclusive), UTC, naive, with one offset from UTC."""

    start: datetime
    end: datetime
    offset: timedelta


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The IANA zone. Raises `BadSchedule`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadSchedule(f"{name!r} is not a time zone; use an IANA name such as Europe/Brussels or UTC") from error


def segments(tz: tzinfo, after: datetime, until: datetime) -> Iterator[Segment]:
    """The segments that cover (after, until], beginning early enough that the change before `after` is seen.

    Instants are naive UTC.
    """
    start = after - _BACK
    offset = _offset(tz, start)
    for year in range(start.year, until.year + 1):
        for change, following in _changes(tz, year):
            if start < change <= until:
                yield Segment(start, change, offset)
                start, offset = change, following
    yield Segment(start, until + _SECOND, offset)


@lru_cache(maxsize=8192)
def _changes(tz: tzinfo, year: int) -> tuple[tuple[datetime, timedelta], ...]:
    """The instants later than the year's first, up to its end, at which the offset changes; with the new offset."""
    at, end = datetime(year, 1, 1), datetime(year + 1, 1, 1)  # noqa: DTZ001 (naive UTC by intent)
    offset, found = _offset(tz, at), []
    while at < end:
        step_end = min(at + _STEP, end)
        if _offset(tz, step_end) != offset:
            step_end = _first_change(tz, at, step_end, offset)
            offset = _offset(tz, step_end)
            found.append((step_end, offset))
        at = step_end
    return tuple(found)


def _first_change(tz: tzinfo, low: datetime, high: datetime, offset: timedelta) -> datetime:
    """The first second in (low, high] whose offset is not `offset`."""
    while high - low > _SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle <= low:
            break
        if _offset(tz, middle) == offset:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def _offset(tz: tzinfo, instant: datetime) -> timedelta:
    return instant.replace(tzinfo=UTC).astimezone(tz).utcoffset() or timedelta()
