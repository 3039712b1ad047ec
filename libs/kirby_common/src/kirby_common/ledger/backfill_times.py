"""The due times of a backfill: pure, in its order, from where it stands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import groupby, islice

from kirby_common.schedules import ScheduleSpec, count_due, due_times

_TICK = timedelta(microseconds=1)
_FIRST_LOOK = timedelta(hours=1)


@dataclass(frozen=True)
class Stretch:
    """The due times of these schedules in [start, end), each once."""

    schedules: Sequence[ScheduleSpec]
    start: datetime
    end: datetime

    def instants(self) -> Iterator[datetime]:
        """All of them, the oldest first."""
        return self._between(self.start, self.end)

    def count(self, *, most: int) -> int:
        """How many there are; more than `most` are counted as one more than that."""
        return sum(1 for _ in islice(self.instants(), most + 1))

    def estimate(self) -> int:
        """As `count`, without walking: those that two schedules have in common are counted twice."""
        return sum(count_due(spec, after=self.start - _TICK, until=self.end - _TICK) for spec in self.schedules)

    def following(self, position: datetime | None, *, newest_first: bool, most: int) -> list[datetime]:
        """The next `most` after `position` (None: from the beginning) in that order; fewer when they end."""
        if newest_first:
            return self._backwards(self.end if position is None else position, most)
        after = self.start if position is None else position + _TICK
        return list(islice(self._between(after, self.end), most))

    def _backwards(self, before: datetime, most: int) -> list[datetime]:
        """Looks back in growing steps until there are enough: a schedule can only be walked forwards."""
        look, found = _FIRST_LOOK, list[datetime]()
        while before > self.start and len(found) < most:
            start = max(self.start, before - look)
            found += reversed(list(self._between(start, before)))
            before, look = start, look * 2
        return found[:most]

    def _between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        streams = [due_times(spec, after=start - _TICK, until=end - _TICK) for spec in self.schedules]
        return (at for at, _ in groupby(merge(*streams)))
