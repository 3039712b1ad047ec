"""Cron expressions over naive local time: parsing, refusal of what never fires, iteration.

croniter parses and iterates; which instant a local time is, `localtime` decides.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime, time
from functools import lru_cache
from heapq import merge
from itertools import groupby

from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError

from kirby_common.schedules.spec import BadSchedule

# Two leap days on one weekday can be 40 years apart (around 2100); beyond that nothing new can happen.
_YEARS_TO_LOOK = 41
_PROBE = datetime(2024, 1, 1)  # noqa: DTZ001 (naive local time by intent)
_LAST_WEEKDAY = re.compile(r"^([0-7])[lL]$")
_FIELDS = ("minute", "hour", "day of month", "month", "day of week")


class Cron:
    """A parsed expression of five fields, or six with seconds first, or an `@` name."""

    def __init__(self, expr: str) -> None:
        """Raises `BadSchedule`."""
        self.expr = expr.strip()
        self._six = len(self.expr.split()) == 6
        _refuse_foreign_syntax(self.expr)
        self._parts = _alternatives(self.expr)
        iterator = self._parse()
        fields = self._fields(iterator)
        minute, hour = fields[1:3] if self._six else fields[:2]
        self.fixed = not minute.startswith("*") and not hour.startswith("*")
        self.days = " ".join(["0 0", *(fields if self.expr.startswith("@") else self.expr.split())[-3:]])
        """The expression of the days alone."""
        self._clock = _clock(iterator.expanded)

    def after(self, start: datetime) -> Iterator[datetime]:
        """Matching naive local times later than `start`, in order, until the calendar ends."""
        if len(self._parts) == 1:
            return self._after(self._parts[0], start)
        each = [self._after(part, start) for part in self._parts]
        return (at for at, _ in groupby(merge(*each)))

    def _after(self, part: str, start: datetime) -> Iterator[datetime]:
        iterator = self._iterator(part, start)
        while True:
            try:
                yield iterator.get_next(datetime)
            except (CroniterBadDateError, OverflowError, ValueError):
                return

    def times_before(self, clock: time) -> int:
        """How many times of a matching day come before `clock`."""
        hours, minutes, seconds = self._clock
        second = bisect_left(seconds, clock.second + (clock.microsecond > 0))
        minute = bisect_left(minutes, clock.minute) * len(seconds) + second * (clock.minute in minutes)
        return bisect_left(hours, clock.hour) * len(minutes) * len(seconds) + minute * (clock.hour in hours)

    def _parse(self) -> croniter:
        try:
            iterators = [self._iterator(part, _PROBE) for part in self._parts]
        except (CroniterError, ValueError, KeyError, IndexError) as error:
            raise BadSchedule(f"{self.expr!r} is not a cron expression: {_sentence(error)}") from error
        if next(self.after(_PROBE), None) is None:
            raise BadSchedule(f"{self.expr!r} never fires: no such day exists")
        return iterators[0]

    def _fields(self, iterator: croniter) -> list[str]:
        # croniter moves the seconds to the end and expands the @ names.
        expressions = [str(part) for part in iterator.expressions]
        return [expressions[-1], *expressions[:-1]] if self._six and len(expressions) == 6 else expressions

    def _iterator(self, part: str, start: datetime) -> croniter:
        return croniter(
            part,
            start,
            implement_cron_bug=True,
            second_at_beginning=self._six,
            max_years_between_matches=_YEARS_TO_LOOK,
        )


@lru_cache(maxsize=4096)
def parse_cron(expr: str) -> Cron:
    """The parsed expression, remembered. Raises `BadSchedule`."""
    return Cron(expr)


def _refuse_foreign_syntax(expr: str) -> None:
    if not expr:
        raise BadSchedule("the cron expression is empty; '*/5 * * * *' is every five minutes")
    fields = expr.split()
    if expr.startswith("@"):
        if len(fields) != 1 or expr.lower() == "@reboot":
            raise BadSchedule(f"{expr!r} is not a cron name; use @hourly, @daily, @weekly, @monthly or @yearly")
        return
    if len(fields) not in (5, 6):
        raise BadSchedule(
            f"{expr!r} has {len(fields)} field{'s' if len(fields) != 1 else ''}; a cron expression has five"
            f" ({', '.join(_FIELDS)}) or six (seconds first)"
        )
    if any(_is_hashed(field) for field in fields):
        raise BadSchedule(f"{expr!r} uses H or R, which Kirby does not have; spread load with a jitter instead")


def _alternatives(expr: str) -> list[str]:
    """Expressions that croniter understands, of which one has to match.

    It reads `fri#2` and `L5` (the last Friday, for some `5L`) only where the weekdays stand alone: with a day of the
    month, or among plain weekdays, cron means "or".
    """
    *clock, day, month, weekday = expr.split() if not expr.startswith("@") else [expr, "", "", ""]
    days = [_LAST_WEEKDAY.sub(r"L\1", part) for part in weekday.split(",")]
    special = [part for part in days if "#" in part or (part[:1] in "lL" and part[1:])]
    if not special:
        return [expr]
    plain = [part for part in days if part not in special]
    ways = [(day if day.startswith("*") else "*", ",".join(some)) for some in (special, plain) if some]
    if not day.startswith("*"):
        ways.append((day, "*"))
    return [" ".join([*clock, day, month, weekday]) for day, weekday in ways]


def _is_hashed(field: str) -> bool:
    return any(part[:1] in {"h", "r"} and part[1:2] in {"", "(", "/"} for part in field.lower().split(","))


def _clock(expanded: Sequence[Sequence[int | str]]) -> tuple[list[int], list[int], list[int]]:
    """The hours, minutes and seconds of croniter's expansion, in order."""
    hours, minutes = _numbers(expanded[1], 24), _numbers(expanded[0], 60)
    return hours, minutes, _numbers(expanded[5], 60) if len(expanded) > 5 else [0]


def _numbers(field: Sequence[int | str], beyond: int) -> list[int]:
    return list(range(beyond)) if "*" in field else sorted({int(value) for value in field})


def _sentence(error: Exception) -> str:
    text = str(error).strip().rstrip(".") or type(error).__name__
    return text.replace("[", "'").replace("]", "'")
