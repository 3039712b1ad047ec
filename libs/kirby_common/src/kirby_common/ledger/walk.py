"""The due times of a context in order, each with what skips it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import merge
from itertools import groupby

from kirby_common.ledger.policies import Policies
from kirby_common.ledger.windows import Calendar, Opening, Window, first_replaced, names
from kirby_common.schedules import ScheduleSpec, count_due, due_times, first_due

_STEP = timedelta(days=1)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True)
class Rules:
    """What decides the due times of one context."""

    schedules: Sequence[ScheduleSpec]
    policies: Policies = field(default_factory=Policies)
    paused: str | None = None
    windows: Sequence[Window] = ()


@dataclass(frozen=True)
class Skip:
    """Why a due time is not run. `pause`: it may go on. `window`: the exception's id, unless there is none."""

    reason: str
    pause: bool
    window: str | None = None


@dataclass(frozen=True)
class DueTime:
    """`skip` is None when it is run. `window`: the exception that has added it to those of the schedules."""

    at: datetime
    skip: Skip | None = None
    window: str | None = None


def walk(rules: Rules, *, after: datetime, until: datetime) -> Iterator[DueTime]:
    """The due times in (after, until], in order, each once; computed as they are asked for."""
    while (first := next_due(rules, after=after)) is not None and first <= until:
        after = first - _TICK
        end = min(after + _STEP, until)
        calendar = Calendar(rules.windows, after=after, until=end)
        streams = [_of_schedule(spec, rules.paused, calendar, after=after, until=end) for spec in rules.schedules]
        if rules.paused is None:
            streams += [_added(rules, window, calendar, after=after, until=end) for window in calendar.replacing]
        for _, same in groupby(merge(*streams, key=lambda due: due.at), key=lambda due: due.at):
            yield min(same, key=lambda due: (due.skip is not None, due.window is not None))
        after = end


def next_due(rules: Rules, *, after: datetime) -> datetime | None:
    """No due time lies between `after` and this one; None: there is none any more."""
    firsts = [first_due(spec, after=after) for spec in rules.schedules]
    if rules.schedules:
        firsts += [first_replaced(window, after=after) for window in rules.windows]
    return min((at for at in firsts if at is not None), default=None)


def _of_schedule(
    spec: ScheduleSpec, paused: str | None, calendar: Calendar, *, after: datetime, until: datetime
) -> Iterator[DueTime]:
    numbers: dict[tuple[str, datetime], int] = {}
    for at in due_times(spec, after=after, until=until):
        open_ = calendar.covering(at, spec.id)
        for opening in open_:
            _number(numbers, opening, spec, at)
        if paused is not None:
            yield DueTime(at, Skip(paused, pause=True))
        else:
            yield DueTime(at, _skip(open_[0], at, numbers) if open_ else None)


def _number(numbers: dict[tuple[str, datetime], int], opening: Opening, spec: ScheduleSpec, at: datetime) -> None:
    """Counts the due time, from the opening on: which is the Nth never depends on how the time is cut."""
    if opening.window.every_nth is None:
        return
    key = (opening.window.id, opening.start)
    if key in numbers:
        numbers[key] += 1
    else:
        numbers[key] = count_due(spec, after=opening.start - _TICK, until=at) - 1


def _skip(opening: Opening, at: datetime, numbers: dict[tuple[str, datetime], int]) -> Skip | None:
    window = opening.window
    who = f"exception {window.id[:8]} by {window.author}: {window.reason}"
    if window.effect == "pause":
        return Skip(f"paused, {who}", pause=True, window=window.id)
    if window.every_nth is not None:
        if numbers[window.id, opening.start] % window.every_nth == 0:
            return None
        return Skip(f"slowed down to one in {window.every_nth}, {who}", pause=False, window=window.id)
    if window.replacement is None or names(window.replacement, at):
        return None
    return Skip(f"slowed down to '{window.cron}', {who}", pause=False, window=window.id)


def _added(rules: Rules, window: Window, calendar: Calendar, *, after: datetime, until: datetime) -> Iterator[DueTime]:
    """The due times that the window has instead of those of the schedules, where it decides."""
    assert window.replacement is not None
    for at in due_times(window.replacement, after=after, until=until):
        deciding = (calendar.covering(at, spec.id)[:1] for spec in rules.schedules)
        if any(opening.window.id == window.id for first in deciding for opening in first):
            yield DueTime(at, window=window.id)
