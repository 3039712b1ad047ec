"""A cron schedule's local times, cut where the clock changes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kirby_common.schedules.cron import Cron
from kirby_common.schedules.localtime import Segment, segments, zone
from kirby_common.schedules.spec import Dst, ScheduleSpec

_SECOND = timedelta(seconds=1)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Stretch:
    """Each match in the local times [begin, end) is due at `match - offset`.

    `gap`: the instant, if any, that stands for the fixed times which the clock skipped right before. All naive.
    """

    begin: datetime
    end: datetime
    offset: timedelta
    gap: datetime | None


def stretches(spec: ScheduleSpec, cron: Cron, *, after: datetime, until: datetime) -> Iterator[Stretch]:
    """The stretches whose matches are the due times in (after, until], in order."""
    first, last = (t.astimezone(UTC).replace(tzinfo=None) + _TICK for t in (after, until))
    tz = UTC if spec.dst is Dst.UTC else zone(spec.tz)
    previous: Segment | None = None
    for segment in segments(tz, first - _TICK, last - _TICK):
        if segment.end >= first:
            yield _stretch(cron, segment, previous, skip_gap=spec.dst is Dst.SKIP_GAP, first=first, last=last)
        previous = segment


def _stretch(
    cron: Cron, segment: Segment, previous: Segment | None, *, skip_gap: bool, first: datetime, last: datetime
) -> Stretch:
    """`first` is the earliest instant that is asked for, `last` is beyond the latest."""
    local_start = segment.start + segment.offset
    begin = max(local_start, first + segment.offset)
    gap = None
    if previous is not None and cron.fixed:
        local_before = previous.end + previous.offset
        if local_before > local_start:
            # These local times have all been once, before the clock was set back.
            begin = max(begin, local_before)
        elif local_before < local_start and not skip_gap and first <= segment.start < last:
            in_gap = next(cron.after(local_before - _SECOND), None)
            first_local = next(cron.after(local_start - _SECOND), None)
            if in_gap is not None and in_gap < local_start and first_local != local_start:
                gap = segment.start
    return Stretch(begin, min(segment.end, last) + segment.offset, segment.offset, gap)
