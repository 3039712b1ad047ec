"""The reading half of Kafka in memory."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kirby.errors import TopicAbsent
from kirby.testing._members import Place
from kirby.transport import BEGINNING, END, Changed, Fenced, NotAMember, Position, Record, Start, Watermarks

if TYPE_CHECKING:
    from kirby.testing.memory import MemoryKafka, MemoryRecord


class MemoryReceiver:
    """Reads from the lists; waits for the cluster's condition."""

    def __init__(self, kafka: "MemoryKafka", *, group: str | None, start: Start, member: str | None) -> None:
        self._kafka = kafka
        self._group = group
        self._start = start
        self.name = member
        self.topics: tuple[str, ...] = ()
        self._positions: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._on_assign: Changed | None = None
        self._on_revoke: Changed | None = None

    def subscribe(
        self, topics: Sequence[str], *, on_assign: Changed | None = None, on_revoke: Changed | None = None
    ) -> None:
        assert self._group is not None, "to subscribe, a receiver needs a group"
        self.topics = tuple(topics)
        self._on_assign, self._on_revoke = on_assign, on_revoke
        with self._kafka.changed:
            self._kafka.groups.join(self._group, self)
            self._kafka.changed.notify_all()

    def assign(self, positions: Sequence[Position]) -> None:
        with self._kafka.changed:
            self._positions = {(p.topic, p.partition): self._absolute(p) for p in positions}

    def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        ends = time.monotonic() + timeout
        while True:
            with self._kafka.changed:
                self._settle()
                found = self._read(limit)
                left = ends - time.monotonic()
                idle = self._kafka.when_idle
                if found or (left <= 0 and idle is None):
                    return found
                if idle is None:
                    self._kafka.changed.wait(min(left, 0.02))
                    continue
            # Not under the lock: it may send.
            if not idle():
                return ()

    def assigned(self) -> set[Place]:
        return set(self._positions)

    def ends(self) -> Mapping[Place, int]:
        return {place: offset for place, offset in self._positions.items() if offset >= len(self._partition(*place))}

    def seek(self, position: Position) -> None:
        with self._kafka.changed:
            self._positions[position.topic, position.partition] = self._absolute(position)

    def pause(self, topic: str, partitions: Sequence[int]) -> None:
        self._paused |= {(topic, number) for number in partitions}

    def resume(self, topic: str, partitions: Sequence[int]) -> None:
        self._paused -= {(topic, number) for number in partitions}

    def commit(self, positions: Sequence[Position]) -> None:
        self._kafka.must_answer()
        with self._kafka.changed:
            self.must_hold(positions)
            self.remember(positions)

    def committed(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Position]:
        self._kafka.must_answer()
        commits = {} if self._group is None else self._kafka.groups.of(self._group).commits
        return {number: commits[topic, number] for number in partitions if (topic, number) in commits}

    def offsets_at(self, topic: str, times_ms: Mapping[int, int]) -> Mapping[int, int]:
        self._kafka.must_answer()
        with self._kafka.changed:
            return {number: self._offset_at(topic, number, at_ms) for number, at_ms in times_ms.items()}

    def watermarks(self, topic: str, partition: int) -> Watermarks:
        self._kafka.must_answer()
        return Watermarks(0, len(self._partition(topic, partition)))

    def close(self) -> None:
        with self._kafka.changed:
            if self._group is None or not self.topics:
                return
            mine = sorted(self._positions)
            if mine and self._on_revoke is not None:
                self._on_revoke(self, mine)
            self._positions.clear()
            self._kafka.groups.leave(self._group, self)
            self._kafka.changed.notify_all()

    def lose(self) -> None:
        """Be thrown out of the group, as one that did not poll in time; the next `poll` notices, and joins again."""
        assert self._group is not None
        with self._kafka.changed:
            self._kafka.groups.leave(self._group, self)
            self._kafka.changed.notify_all()

    def must_hold(self, positions: Sequence[Position]) -> None:
        """Raises NotAMember unless all these partitions are this member's, and Fenced when another took its name."""
        if self._group is None:
            raise NotAMember("a reader without a group commits nothing")
        group = self._kafka.groups.of(self._group)
        if self.topics:
            self._must_not_be_replaced()
            # As in Kafka, which compares the membership: what is not subscribed to may be committed beside.
            subscribed = [(p.topic, p.partition) for p in positions if p.topic in self.topics]
            if self not in group.members or any(group.holds.get(place) is not self for place in subscribed):
                raise NotAMember("the partitions are another member's")

    def remember(self, positions: Sequence[Position]) -> None:
        """A commit, after `must_hold`."""
        assert self._group is not None
        self._kafka.groups.of(self._group).commits |= {(p.topic, p.partition): p for p in positions}

    def _settle(self) -> None:
        """Let go of what is to be another's, take what is free."""
        if self._group is None or not self.topics or not self._kafka.available:
            return
        self._must_not_be_replaced()
        groups = self._kafka.groups
        group = groups.of(self._group)
        lost = [place for place in self._positions if group.holds.get(place) is not self]
        if self not in group.members:
            groups.join(self._group, self)
        gone, come = groups.settle(self._group, self)
        if lost or gone:
            if self._on_revoke is not None:
                self._on_revoke(self, sorted({*lost, *gone}))
            groups.let_go(self._group, gone)
            self._positions = {p: o for p, o in self._positions.items() if p not in {*lost, *gone}}
            self._kafka.changed.notify_all()
            _, come = groups.settle(self._group, self)
        if come:
            groups.take(self._group, self, come)
            for topic, number in come:
                done = group.commits.get((topic, number))
                first = BEGINNING if self._start == "earliest" else END
                self._positions[topic, number] = self._absolute(done or Position(topic, number, first))
            if self._on_assign is not None:
                self._on_assign(self, come)

    def _must_not_be_replaced(self) -> None:
        assert self._group is not None
        group = self._kafka.groups.of(self._group)
        if self.name is not None and any(m.name == self.name and m is not self for m in group.members):
            raise Fenced(f"A newer process is the member {self.name!r} of {self._group!r}")

    def _read(self, limit: int) -> "list[MemoryRecord]":
        found: list[MemoryRecord] = []
        for topic in self.topics:
            if topic not in self._kafka.logs:
                raise TopicAbsent(topic)
        for place in sorted(self._positions) if self._kafka.available else ():
            if place in self._paused:
                continue
            partition = self._partition(*place)
            position = self._positions[place]
            while position < len(partition) and len(found) < limit:
                record = partition[position]
                position += 1
                if record is not None:
                    found.append(record)
            self._positions[place] = position
        return found

    def _offset_at(self, topic: str, number: int, at_ms: int) -> int:
        partition = self._partition(topic, number)
        late = (n for n, record in enumerate(partition) if record is not None and record.at_ms >= at_ms)
        return next(late, len(partition))

    def _absolute(self, position: Position) -> int:
        if position.offset == BEGINNING:
            return 0
        if position.offset == END:
            return len(self._partition(position.topic, position.partition))
        return position.offset

    def _partition(self, topic: str, number: int) -> "list[MemoryRecord | None]":
        if topic not in self._kafka.logs:
            raise TopicAbsent(topic)
        return self._kafka.logs[topic].partitions[number]
