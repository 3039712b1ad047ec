"""The consuming half of a Topic: a bounded buffer, positions of what was handed out, and commits of exactly those."""

import atexit
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from kirby import _drain
from kirby.errors import KafkaUnavailable, KirbyError, TopicAbsent
from kirby.rewinding import Mark, Pace, mark_of, pace_of
from kirby.shadowing import names
from kirby.transport import (
    BEGINNING,
    END,
    Fenced,
    NotAMember,
    Position,
    Receiver,
    Record,
    Start,
    TransientFailure,
    Transport,
)

_SLICE_S = 0.2
_BATCH = 500
_COMMIT_S = 300.0
_ASSIGNMENT_S = 60.0


nothing_will_come: "Callable[[Reader, bool], bool] | None" = None
"""In tests: asked when a poll has found nothing, with whether the reader would wait for ever; True ends the wait."""


class Reader:
    """One receiver of one topic. Without a group it reads every partition from `start` and cannot commit.

    `on_revoke` is called with the partitions that go, while what was done of them can still be committed, `on_come`
    with those that come.
    """

    def __init__(
        self,
        topic: str,
        *,
        group: str | None,
        start: Start,
        way: Transport,
        on_revoke: Callable[[Sequence[int]], None] | None = None,
    ) -> None:
        self.topic = topic
        self.group = group
        self.on_revoke = on_revoke
        self.on_come: Callable[[Sequence[int]], None] | None = None
        self._start = start
        self._way = way
        self._buffer: deque[Record] = deque()
        self._positions: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._marked: dict[int, int] = {}
        self._is_paused = False
        self._is_letting_go = False
        self._assigned: set[int] = set()
        self.marks: dict[int, Mark] = {}
        """By partition, the rewind that its group is in; those of partitions that went are left for what is in hand."""
        self._unlearnt: set[int] = set()
        self._only_marked = group is not None and names.current() is not None
        """In a shadow rewind only what it is about is read: up to its end, and no partition that it is not about."""
        self._careful = False
        """Whether what is in the buffer may not simply be handed out."""
        self._pace: Pace | None = None
        self.receiver: Receiver = way.receiver(group=group, start=start, member=self._member())
        _drain.watch()
        _open.add(self)
        if group is None:
            self._assign_all()
        else:
            self.receiver.subscribe([topic], on_assign=self._on_come, on_revoke=self._on_gone)

    def _member(self) -> str | None:
        """A daemon's replica by name in its group, so that who comes back in its slot has its partitions at once."""
        slot = os.environ.get("KIRBY_SLOT")
        if self.group is None or not slot:
            return None
        number = sum(1 for r in _open if r.group == self.group and r.topic == self.topic)
        return f"{self.group}.{slot}.{self.topic}" + (f".{number}" if number else "")

    def _assign_all(self) -> None:
        count = self._way.admin().partitions(self.topic)
        if count is None:
            raise TopicAbsent(self.topic)
        where = BEGINNING if self._start == "earliest" else END
        self._assigned = set(range(count))
        self.receiver.assign([Position(self.topic, number, where) for number in range(count)])

    def take(self, *, timeout: float | None) -> Record | None:
        """The next record, or None after `timeout` seconds or once the script is asked to end."""
        if _drain.asked or ((not self._buffer or self._careful) and not self._ready(timeout)):
            return None
        record = self._buffer.popleft()
        self._positions[record.partition()] = record.offset() + 1
        if self._pace is not None:
            self._count([record])
        return record

    def take_many(self, limit: int, *, timeout: float | None) -> list[Record]:
        """Up to `limit` records: waits for the first as `take` does, then takes what is already there."""
        if _drain.asked or ((not self._buffer or self._careful) and not self._ready(timeout)):
            return []
        if self._pace is not None:
            limit = self._pace.together(limit)
        elif len(self._buffer) < limit:
            self._take_in(limit - len(self._buffer), 0)
        buffer = self._buffer
        taken = [buffer.popleft() for _ in range(min(limit, len(buffer)))]
        for record in taken:
            self._positions[record.partition()] = record.offset() + 1
        if self._pace is not None:
            self._count(taken)
        return taken

    def put_back(self, records: Sequence[Record]) -> None:
        """Hand these out again, first: the newest of those that `take_many` gave."""
        for record in reversed(records):
            self._buffer.appendleft(record)
            self._positions[record.partition()] = record.offset()

    def _ready(self, timeout: float | None) -> bool:
        """Whether there is something, within `timeout` seconds and before the script is asked to end."""
        ends = None if timeout is None else time.monotonic() + timeout
        while not _drain.asked:
            left = _SLICE_S if ends is None else min(_SLICE_S, max(0.0, ends - time.monotonic()))
            if not self._buffer or self._unlearnt:
                self._take_in(_BATCH, left)
            if self._buffer and not self._unlearnt and self._may_go_on(left):
                return True
            if ends is not None and time.monotonic() >= ends:
                return False
            if timeout != 0 and nothing_will_come is not None and nothing_will_come(self, timeout is None):
                return False
        return False

    def _take_in(self, limit: int, timeout: float) -> None:
        """Read more, and leave out what a rewind passes over."""
        records = self._poll(limit, timeout)
        if self._unlearnt or self.marks or self._only_marked:
            self._learn()
            self._pass_over(records)
        else:
            self._buffer.extend(records)

    def _learn(self) -> None:
        """Ask what the group's commits say of rewinds; until Kafka tells, nothing is handed out."""
        asked = sorted(self._unlearnt)
        if not asked:
            return
        try:
            committed = self.receiver.committed(self.topic, asked)
        except KafkaUnavailable:
            return
        for number in asked:
            mark = mark_of(committed[number].metadata) if number in committed else None
            if mark is None:
                self.marks.pop(number, None)
            else:
                self.marks[number] = mark
        self._unlearnt.difference_update(asked)
        self._pace = pace_of(self.marks[number] for number in self._assigned if number in self.marks)
        self._careful = bool(self._unlearnt) or self._pace is not None
        read_ahead, self._buffer = list(self._buffer), deque()
        self._pass_over(read_ahead)

    def _pass_over(self, records: Sequence[Record]) -> None:
        """Keep what is to be handed out; where a rewind has ended early, read on where the group was before it."""
        passed: dict[int, int] = {}
        beyond: set[int] = set()
        for record in records:
            mark = self.marks.get(record.partition())
            if self._is_beyond(record):
                beyond.add(record.partition())
            elif mark is not None and mark.passes(record.offset()):
                passed[record.partition()] = mark.back
            else:
                self._buffer.append(record)
        for number, back in passed.items():
            self._seek(Position(self.topic, number, back))
            to = self.marks[number].to
            self._buffer = deque(r for r in self._buffer if r.partition() != number or r.offset() < to)
        if beyond:
            self.receiver.pause(self.topic, sorted(beyond & self._assigned))

    def _is_beyond(self, record: Record) -> bool:
        """Whether a shadow rewind has nothing to do with the record; not known before its partition's commit is."""
        return self._only_marked and record.partition() not in self._unlearnt and not self._is_rewound(record)

    def _may_go_on(self, patience: float) -> bool:
        """Whether the next record's turn has come, by the pace of its rewind; waits for it up to `patience` seconds."""
        if self._pace is None or not self._is_rewound(self._buffer[0]):
            return True
        left = self._pace.left(time.monotonic())
        if left <= 0:
            return True
        time.sleep(min(left, patience))
        if len(self._buffer) < _BATCH:
            self.serve()
        return False

    def _is_rewound(self, record: Record) -> bool:
        mark = self.marks.get(record.partition())
        return mark is not None and mark.covers(record.offset())

    def _count(self, records: Sequence[Record]) -> None:
        assert self._pace is not None
        count = sum(map(self._is_rewound, records))
        if count:
            self._pace.handed(count, time.monotonic())

    def _poll(self, limit: int, timeout: float) -> Sequence[Record]:
        try:
            return self.receiver.poll(limit, timeout)
        except Fenced:
            _drain.replaced(str(self.group))
            return ()

    def serve(self) -> None:
        """Keep the membership while handlers work on what was handed out; pause first, or this takes more in."""
        self._take_in(1, 0)

    def commit(self, positions: Mapping[int, int] | None = None) -> None:
        """Commit `positions` (default: those after what was handed out) of the partitions that are still ours.

        When the membership is over, this does nothing: what was not committed is read again by others.
        """
        if self.group is None:
            raise KirbyError(f"commit() needs a group: pass group= to Topic({self.topic!r}), or run under Kirby")
        wanted = self._positions if positions is None else positions
        # Kafka takes a member's commit of any partition, also of one that is another's by now.
        ours = {number: offset for number, offset in wanted.items() if number in self._assigned}
        done = {number: offset for number, offset in ours.items() if self._committed.get(number) != offset}
        if not done:
            return
        offsets = self.commits(done)
        ends = time.monotonic() + _COMMIT_S
        while offsets:
            try:
                self.receiver.commit(offsets)
                break
            except NotAMember:
                return
            except Fenced:
                return _drain.replaced(self.group)
            except TransientFailure as error:
                if time.monotonic() >= ends:
                    raise KafkaUnavailable(self._way.servers, f"committing {self.topic}: {error}") from error
                time.sleep(0.5)
                offsets = self._still_ours(offsets)
        self._committed |= {p.partition: done[p.partition] for p in offsets}

    def commits(self, positions: Mapping[int, int]) -> list[Position]:
        """What to commit for these positions; in a rewind they keep telling of it."""
        told = {number: (offset, "") for number, offset in sorted(positions.items())}
        for number, mark in self.marks.items() if self.marks else ():
            if number in told:
                told[number] = mark.commit(told[number][0])
        return [Position(self.topic, number, *place) for number, place in told.items()]

    def _still_ours(self, offsets: Sequence[Position]) -> list[Position]:
        """Those whose partitions we still have, by what the group says now: only who polls hears of that."""
        if len(self._buffer) < _BATCH and not self._is_letting_go:
            self._take_in(1, 0)
        ours = self.receiver.assigned()
        return [p for p in offsets if (p.topic, p.partition) in ours]

    def seek(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets next; what was read ahead of them is forgotten."""
        for number, offset in offsets.items():
            self._seek(Position(self.topic, number, offset))
            self._positions[number] = offset
        if self._only_marked and not self._is_paused:
            self.receiver.resume(self.topic, sorted(offsets))
        self._buffer = deque(r for r in self._buffer if r.partition() not in offsets)

    def _seek(self, position: Position) -> None:
        """A partition that has just come can't be sought yet; polling lets it get there."""
        ends = time.monotonic() + _ASSIGNMENT_S
        while True:
            try:
                return self.receiver.seek(position)
            except TransientFailure as error:
                if time.monotonic() >= ends:
                    raise KafkaUnavailable(self._way.servers, f"seeking in {self.topic}: {error}") from error
                self._buffer.extend(r for r in self._poll(_BATCH, 0.05) if not self._is_beyond(r))

    def mark(self) -> None:
        """Remember this place, for `back_to_mark`."""
        self._marked = dict(self._positions)

    @property
    def is_empty(self) -> bool:
        """Whether everything that was read ahead was handed out."""
        return not self._buffer

    @property
    def moved(self) -> bool:
        """Whether anything was handed out since `mark`."""
        return self._positions != self._marked

    def back_to_mark(self) -> None:
        """Hand out again what was handed out since `mark`, as far as its partitions are still ours."""
        self._buffer.clear()
        self._positions = {n: offset for n, offset in self._marked.items() if n in self._assigned}
        if self._assigned:
            self.seek(self.next_offsets())

    def settled(self) -> set[int]:
        """The partitions that are ours now and whose commits were looked at: records of these may be handed out."""
        return self._assigned - self._unlearnt

    def partitions(self, *, timeout: float = _ASSIGNMENT_S) -> set[int]:
        """The partitions that are ours; waits until the group has given some. Raises KafkaUnavailable after that."""
        ends = time.monotonic() + timeout
        while not self._assigned and not _drain.asked:
            if time.monotonic() >= ends:
                raise KafkaUnavailable(self._way.servers, f"no partition of {self.topic} after {timeout:g} s")
            self._take_in(_BATCH, _SLICE_S)
        return set(self._assigned)

    @property
    def assigned(self) -> set[int]:
        """The partitions that are ours so far, without waiting for any."""
        return set(self._assigned)

    def next_offsets(self) -> dict[int, int]:
        """Of each partition that is ours, the offset that would be handed out next: committed ones where none was."""
        ours = self.partitions()
        known = {number: offset for number, offset in self._positions.items() if number in ours}
        for record in reversed(self._buffer):
            if record.partition() not in self._positions:
                known[record.partition()] = record.offset()
        unknown = sorted(ours - known.keys())
        if unknown and self.group is not None:
            known |= {n: p.offset for n, p in self.receiver.committed(self.topic, unknown).items() if n not in known}
        for number in ours - known.keys():
            marks = self.receiver.watermarks(self.topic, number)
            known[number] = marks.low if self._start == "earliest" else marks.high
        self._positions |= known
        return known

    def offsets_at(self, at_ms: int) -> dict[int, int]:
        """Of each partition that is ours, the offset of the first record at or after that time, else the end."""
        return dict(self.receiver.offsets_at(self.topic, dict.fromkeys(self.partitions(), at_ms)))

    def pause(self) -> None:
        """Take nothing more in, without leaving the group; holds for partitions that come later, too."""
        self._is_paused = True
        self.receiver.pause(self.topic, sorted(self._assigned))

    def resume(self) -> None:
        self._is_paused = False
        self.receiver.resume(self.topic, sorted(self._assigned))

    def close(self) -> None:
        """Leave the group at once, so that others take the partitions over; uncommitted messages come again."""
        _open.discard(self)
        self._buffer.clear()
        self._positions.clear()
        self.receiver.close()

    def _on_come(self, receiver: Receiver, places: Sequence[tuple[str, int]]) -> None:
        come = sorted(number for _, number in places)
        self._assigned.update(come)
        self._unlearnt.update(come)
        self._careful = True
        if self._is_paused:
            receiver.pause(self.topic, come)
        if self.on_come is not None:
            self.on_come(come)

    def _on_gone(self, receiver: Receiver, places: Sequence[tuple[str, int]]) -> None:
        gone = {number for _, number in places}
        if self.on_revoke is not None:
            self._is_letting_go = True
            try:
                self.on_revoke(sorted(gone))
            finally:
                self._is_letting_go = False
        self._assigned -= gone
        self._unlearnt -= gone
        self._buffer = deque(r for r in self._buffer if r.partition() not in gone)
        for number in gone:
            self._positions.pop(number, None)
            self._committed.pop(number, None)


def readers() -> "list[Reader]":
    """Those of this process that are open."""
    return list(_open)


def close_all() -> None:
    """At exit: a member that only stopped polling would keep its partitions from the others for 45 s."""
    for reader in list(_open):
        reader.close()


_open: "weakref.WeakSet[Reader]" = weakref.WeakSet()
atexit.register(close_all)
os.register_at_fork(after_in_child=_open.clear)
