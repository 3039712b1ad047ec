"""What is open in one partition: windows that take messages, timers that wait. Pure; times are given.

Both are entries that fall due, by the time of events or by the wall clock. What changed since the last `changes` is
what the changelog has to be told; `POSITION` there says how far in the input its entries are.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import orjson

from kirby.timers import Clock

Kind = Literal["window", "timer"]
POSITION: Final = b"position"


class Id(NamedTuple):
    """Whose entry it is; `name` is a window's start in ms, or what a timer is called."""

    kind: Kind
    key: bytes | None
    name: str

    def encode(self) -> bytes:
        """As the key of a record.

        >>> Id.decode(Id("timer", b"Seattle", "unpaid").encode())
        Id(kind='timer', key=b'Seattle', name='unpaid')
        """
        return orjson.dumps([self.kind, self.name, self.key is not None]) + b"\n" + (self.key or b"")

    @classmethod
    def decode(cls, data: bytes) -> "Id":
        told, _, key = data.partition(b"\n")
        kind, name, has_key = orjson.loads(told)
        return cls(kind, key if has_key else None, name)


@dataclass(frozen=True, slots=True)
class Entry:
    """One that waits. `first` and `until` are the input offsets [from, to) that it was made from."""

    due_ms: int
    clock: Clock
    value: Any
    first: int
    until: int
    count: int = 1
    rerun: bool = False

    def encode(self, value: bytes) -> bytes:
        """As the value of a record, with its own already encoded."""
        told = [self.due_ms, self.clock, self.first, self.until, self.count, self.rerun]
        return orjson.dumps(told) + b"\n" + value

    @classmethod
    def decode(cls, data: bytes, value_of: Callable[[bytes], Any]) -> "Entry":
        told, _, value = data.partition(b"\n")
        due_ms, clock, first, until, count, rerun = orjson.loads(told)
        return cls(due_ms, clock, value_of(value), first, until, count, rerun)


class Shard:
    """The entries of one partition, and how far its events are.

    `watermark_ms` is the time of its newest event; None before the first.
    """

    def __init__(self) -> None:
        self.entries: dict[Id, Entry] = {}
        self.position: int | None = None
        self.watermark_ms: int | None = None
        self.late = 0
        self._changed: set[Id] = set()
        self._due: dict[Clock, list[tuple[int, bytes, Id]]] = {"event": [], "wall": []}

    def put(self, which: Id, entry: Entry, *, restored: bool = False) -> None:
        before = self.entries.get(which)
        self.entries[which] = entry
        if before is None or (before.due_ms, before.clock) != (entry.due_ms, entry.clock):
            heapq.heappush(self._due[entry.clock], (entry.due_ms, which.encode(), which))
        if not restored:
            self._changed.add(which)

    def remove(self, which: Id) -> bool:
        """False when there is none."""
        if self.entries.pop(which, None) is None:
            return False
        self._changed.add(which)
        return True

    def advance(self, event_ms: int) -> None:
        """An event of that time was seen; time does not go back."""
        if self.watermark_ms is None or event_ms > self.watermark_ms:
            self.watermark_ms = event_ms

    def is_over(self, due_ms: int) -> bool:
        """Whether event time has reached it."""
        return self.watermark_ms is not None and due_ms <= self.watermark_ms

    def next_wall_ms(self) -> int | None:
        """When the next entry falls due by the wall clock."""
        return self._first("wall")

    def pop_due(self, now_ms: int) -> tuple[Id, Entry] | None:
        """Take out an entry that is due, the earliest first; None when nothing is."""
        reached_by: dict[Clock, int | None] = {"event": self.watermark_ms, "wall": now_ms}
        for clock, reached in reached_by.items():
            first = self._first(clock)
            if first is not None and reached is not None and first <= reached:
                which = heapq.heappop(self._due[clock])[-1]
                entry = self.entries[which]
                self.remove(which)
                return which, entry
        return None

    def has_changes(self) -> bool:
        return bool(self._changed)

    def changes(self) -> Iterator[tuple[Id, Entry | None]]:
        """What changed since the last call; None for what is gone."""
        changed, self._changed = self._changed, set()
        for which in changed:
            yield which, self.entries.get(which)

    def _first(self, clock: Clock) -> int | None:
        """When the first one is due; those that were moved or removed since are passed over."""
        heap = self._due[clock]
        while heap:
            due_ms, _, which = heap[0]
            entry = self.entries.get(which)
            if entry is not None and (entry.due_ms, entry.clock) == (due_ms, clock):
                return due_ms
            heapq.heappop(heap)
        return None


def encode_position(shard: Shard) -> bytes:
    return orjson.dumps([shard.position, shard.watermark_ms, shard.late])


def decode_position(data: bytes, shard: Shard) -> None:
    shard.position, shard.watermark_ms, shard.late = orjson.loads(data)
