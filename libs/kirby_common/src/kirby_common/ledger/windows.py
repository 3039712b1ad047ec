"""Exceptions as the ledger judges by them: when a window is open, and which one decides where several are.

**Precedence.** Of all windows that are open at a due time exactly one decides, and it is the one that the row names:

1. A pause of the context or its environment (not an exception) comes before every exception.
2. An exception that pauses comes before one that slows down.
3. The narrower one comes before the wider: schedule, context, job, label, environment.
4. The one that was made later comes before the earlier.

Slow-downs do not add up: of two, only the one that decides counts. A window on a schedule touches the due times of that
schedule only; a due time that another schedule of the context has too is run.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal

from kirby_common.schedules import ScheduleSpec, due_times, first_due

Scope = Literal["schedule", "context", "job", "label", "environment"]
_NARROWEST_FIRST: tuple[Scope, ...] = ("schedule", "context", "job", "label", "environment")
_TICK = timedelta(microseconds=1)
_OPENINGS_TO_CHECK = 400


@dataclass(frozen=True, kw_only=True)
class Window:
    """An exception that covers a context: while it is open it pauses or slows down.

    It is open from `start` to `end` (None: for good); with `recurrence`, a cron expression in `tz`, for `lasts` from
    each of its times, between `start` and `end`. It slows down to `every_nth` due time of each schedule, the first
    after the opening included, or to the due times of `cron` instead.
    """

    id: str
    effect: Literal["pause", "slow"]
    start: datetime
    end: datetime | None
    reason: str
    author: str
    every_nth: int | None = None
    cron: str | None = None
    recurrence: str | None = None
    lasts: timedelta | None = None
    tz: str = "UTC"
    scope: Scope = "job"
    schedule: str | None = None
    made: datetime | None = None

    @property
    def precedence(self) -> tuple[bool, int, float, str]:
        """The lowest decides."""
        made = 0.0 if self.made is None else self.made.timestamp()
        return self.effect != "pause", _NARROWEST_FIRST.index(self.scope), -made, self.id

    @property
    def replacement(self) -> ScheduleSpec | None:
        """What is due instead while it is open."""
        return None if self.cron is None else ScheduleSpec(kind="cron", expr=self.cron, tz=self.tz)

    @property
    def opens(self) -> ScheduleSpec | None:
        """When it opens, if it does so again and again."""
        return None if self.recurrence is None else ScheduleSpec(kind="cron", expr=self.recurrence, tz=self.tz)


@dataclass(frozen=True)
class Opening:
    """One stretch of time, from `start` up to but not at `end`, in which a window is open."""

    window: Window
    start: datetime
    end: datetime | None

    def covers(self, at: datetime) -> bool:
        return self.start <= at and (self.end is None or at < self.end)


def openings(window: Window, *, after: datetime, until: datetime | None = None) -> Iterator[Opening]:
    """The openings that cover some instant later than `after`, up to those that begin by `until`; in order."""
    opens = window.opens
    if opens is None:
        if (window.end is None or window.end > after) and (until is None or window.start <= until):
            yield Opening(window, window.start, window.end)
        return
    assert window.lasts is not None
    at: datetime | None = max(after, window.start) - window.lasts
    while at is not None and (at := first_due(opens, after=at)) is not None:
        start, end = max(at, window.start), at + window.lasts
        if (window.end is not None and start >= window.end) or (until is not None and start > until):
            return
        end = end if window.end is None else min(end, window.end)
        if end > after:
            yield Opening(window, start, end)


def now_or_next(window: Window, *, now: datetime) -> Opening | None:
    """The opening that goes on at `now`, or the next one; None when the exception is over."""
    return next(openings(window, after=now), None)


def overlaps_itself(window: Window, *, now: datetime) -> bool:
    """Whether it lasts longer than it takes to the next opening."""
    return any(gap < window.lasts for gap in _gaps(window, now=now) if window.lasts is not None)


def covers_all_for_ever(window: Window, *, now: datetime) -> bool:
    """Whether nothing that it covers would ever be run again, unless somebody takes it back."""
    if window.effect != "pause" or window.end is not None:
        return False
    return window.recurrence is None or all(gap == window.lasts for gap in _gaps(window, now=now))


def _gaps(window: Window, *, now: datetime) -> Iterator[timedelta]:
    opens = window.opens
    at = None if opens is None else first_due(opens, after=now)
    for _ in range(_OPENINGS_TO_CHECK):
        following = None if opens is None or at is None else first_due(opens, after=at)
        if at is None or following is None:
            return
        yield following - at
        at = following


class Calendar:
    """The windows of a context over a stretch of time."""

    def __init__(self, windows: Sequence[Window], *, after: datetime, until: datetime) -> None:
        by_precedence = sorted(windows, key=lambda w: w.precedence)
        found = [list(openings(w, after=after, until=until)) for w in by_precedence]
        self._openings = [each for each in found if each]
        self._starts = [[opening.start for opening in each] for each in self._openings]

    def covering(self, at: datetime, schedule: str | None) -> list[Opening]:
        """What is open at the due time of a schedule; the first one decides."""
        found = []
        for each, starts in zip(self._openings, self._starts, strict=True):
            index = bisect_right(starts, at) - 1
            window = each[0].window
            if index >= 0 and each[index].covers(at) and window.schedule in (None, schedule):
                found.append(each[index])
        return found

    @property
    def replacing(self) -> list[Window]:
        """The windows that have a cron expression of their own."""
        return [each[0].window for each in self._openings if each[0].window.cron is not None]


def first_replaced(window: Window, *, after: datetime) -> datetime | None:
    """No due time that the window adds lies between `after` and this; None: it adds none any more."""
    replacement = window.replacement
    if replacement is None:
        return None
    for opening in islice(openings(window, after=after), 1):
        return first_due(replacement, after=max(after, opening.start - _TICK))
    return None


def names(spec: ScheduleSpec, at: datetime) -> bool:
    """Whether the schedule is due at exactly this instant."""
    return any(due == at for due in due_times(spec, after=at - _TICK, until=at))
