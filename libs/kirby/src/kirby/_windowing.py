"""`Topic.windows` and `Topic.process_timed`: the loops around shards, each in transactions of `exactly_once`."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from kirby import _drain, _kafka
from kirby._changelog import Changelog, Family, changelog_topic
from kirby._hand import hold, holding
from kirby._logging import tell
from kirby._processing import tell_once
from kirby._serializers import find
from kirby._shard import Entry, Id, Shard
from kirby._transactions import transaction
from kirby.dead_letters import DeadLetters, put_aside
from kirby.errors import HeldBack, KirbyError
from kirby.message import Message
from kirby.timers import Clock, Timer
from kirby.transport import Record
from kirby.windows import Spans, TooLate, Window, at, event_ms

if TYPE_CHECKING:
    from kirby.topic import Topic

T = TypeVar("T")
_TOGETHER: Final = 500
_SETTLE_S: Final = 0.2
Inputs = tuple[int, int]
Now = Callable[[], datetime]
When = Callable[[Message[Any]], datetime]


def take_into(
    shard: Shard, fold: Callable[[Any], Any], *, spans: Spans, key: bytes | None, at_ms: int, offset: int, rerun: bool
) -> bool:
    """Put an event into those of its windows that are open; False when all are closed. Pure.

    `fold` gives a window's value with the event, from that without it (None: there is none yet). A window that has the
    offset already is left as it is: that is one that was open when its group was moved back.
    """
    shard.advance(at_ms)
    made: list[tuple[Id, Entry]] = []
    is_taken = False
    for start_ms in spans.starts(at_ms):
        due_ms = start_ms + spans.size_ms + spans.grace_ms
        if shard.is_over(due_ms):
            continue
        is_taken = True
        which = Id("window", key, str(start_ms))
        before = shard.entries.get(which)
        if before is None:
            made.append((which, Entry(due_ms, "event", fold(None), offset, offset + 1, 1, rerun)))
        elif offset >= before.until:
            count, any_rerun = before.count + 1, before.rerun or rerun
            made.append((which, Entry(due_ms, "event", fold(before), before.first, offset + 1, count, any_rerun)))
    # Only now, so that a fold that raises has changed none of them.
    for which, entry in made:
        shard.put(which, entry)
    return is_taken


class Loop:
    """What both loops share: records of partitions whose shards are there, and what falls due in them."""

    def __init__(
        self,
        topic: "Topic[Any]",
        family: Family,
        *,
        name: str | None,
        model: Any = None,
        every: float,
        now: Now | None = None,
    ) -> None:
        self.topic = topic
        self._every = every
        self._now = now or (lambda: datetime.now(UTC))
        self._transactions = topic._begin_transactions()
        self._reader = topic._reading()
        assert topic.group is not None
        kept = changelog_topic(family, topic.group, name or topic.base_name, prefix=_kafka.prefix())
        self.changelog = self._known(kept) or Changelog(
            self._reader, kept, way=topic._place.way, values=find("json", model=model)
        )
        self._transactions.attached = self.changelog

    def _known(self, kept: str) -> Changelog | None:
        """That of an earlier loop of this Topic, which has what is open at hand. Raises KirbyError for another's."""
        attached = self._transactions.attached
        if attached is None:
            return None
        if not isinstance(attached, Changelog) or attached.topic != kept:
            raise KirbyError(
                f"{self.topic.name!r} has windows or timers already, and each message goes to one of its loops only: "
                "make another Topic, with a group of its own, for each"
            )
        return attached

    def next(self, take: Callable[[float | None], T | None], timeout: float | None) -> T | None:
        return self._transactions.next(take, every=self._every, timeout=timeout)

    def records(self, limit: int, wait: float | None) -> list[Record]:
        """Waits up to `wait` seconds for the first, but not beyond what falls due by the wall clock."""
        shards = self.changelog.shards
        # In slices, for partitions that come have timers, too.
        records = self._reader.take_many(limit, timeout=min(_SETTLE_S, self._patience(wait)))
        while any(record.partition() not in shards for record in records):
            self._reader.put_back(records)
            self.changelog.settle()
            records = self._reader.take_many(limit, timeout=0)
        return records

    def pop_due(self) -> tuple[int, Id, Entry] | None:
        """What is due, in whichever partition, with the partition's number; nothing once the script is to end."""
        if _drain.asked:
            return None
        self.changelog.settle()
        now_ms = round(self._now().timestamp() * 1000)
        for number, shard in self.changelog.shards.items():
            due = shard.pop_due(now_ms)
            if due is not None:
                return (number, *due)
        return None

    def put_back(self, records: list[Record]) -> None:
        self._reader.put_back(records)

    def inputs(self, number: int, entry: Entry) -> dict[str, Any]:
        """What `Onward` wants to know of an entry."""
        return {
            "topic": self.topic.name,
            "ranges": {(self.topic.name, number): (entry.first, entry.until)},
            "rerun": entry.rerun,
            "origin": self.topic._route.origin,
        }

    def _patience(self, wait: float | None) -> float:
        due = [ms for shard in self.changelog.shards.values() if (ms := shard.next_wall_ms()) is not None]
        left = (min(due) / 1000 - self._now().timestamp()) if due else _SETTLE_S
        return max(0.0, left if wait is None else min(left, wait))


class Windows(Iterator[Window[T]], Generic[T]):
    """The closed windows of a topic; `late` is how many messages came after theirs were closed, of all that is kept."""

    def __init__(
        self,
        topic: "Topic[Any]",
        spans: Spans,
        *,
        fold: Callable[[T, Message[Any]], T],
        initial: Callable[[], T],
        when: When | None,
        late: Callable[[Message[Any]], Any] | None,
        dead_letters: DeadLetters,
        name: str | None,
        model: Any,
        every: float,
        timeout: float | None,
    ) -> None:
        self._topic = topic
        self._spans = spans
        self._fold = fold
        self._initial = initial
        self._when = when
        self._late = late
        self._letters = dead_letters
        self._timeout = timeout
        self._has_told = False
        dead_letters.prepare(topic.name, topic._place.way)
        self._loop = Loop(topic, "windows", name=name, model=model, every=every)

    @property
    def late(self) -> int:
        return sum(shard.late for shard in self._loop.changelog.shards.values())

    def __next__(self) -> Window[T]:
        hold(None)
        while (got := self._loop.next(self._take, self._timeout)) is not None:
            if isinstance(got, Window):
                hold(got)
                return got
        raise StopIteration

    def _take(self, wait: float | None) -> "Window[T] | int | None":
        """The next window to give; else how many messages were taken in; None when there were none."""
        due = self._loop.pop_due()
        if due is not None:
            return self._window(*due)
        records = self._loop.records(_TOGETHER, wait)
        if not records:
            due = self._loop.pop_due()
            return None if due is None else self._window(*due)
        for number, record in enumerate(records):
            try:
                self._absorb(record)
            except BaseException:
                self._loop.put_back(records[number:])
                raise
        return len(records)

    def _absorb(self, record: Record) -> None:
        try:
            message = self._topic._message(record)
            is_taken = message is None or self._took(message)
        except Exception as error:
            if not self._letters.takes(error):
                raise
            self._put_aside(record, error)
            return
        if not is_taken:
            assert message is not None
            self._came_late(message)

    def _took(self, message: Message[Any]) -> bool:
        def fold(before: Entry | None) -> Any:
            return self._fold(self._initial() if before is None else before.value, message)

        shard = self._loop.changelog.shards[message.partition]
        return take_into(
            shard,
            fold,
            spans=self._spans,
            key=message.raw_key,
            at_ms=self._at_ms(message),
            offset=message.offset,
            rerun=message.rerun,
        )

    def _at_ms(self, message: Message[Any]) -> int:
        return event_ms(message.timestamp if self._when is None else self._when(message))

    def _came_late(self, message: Message[Any]) -> None:
        shard = self._loop.changelog.shards[message.partition]
        shard.late += 1
        if self._late is not None:
            with holding(message):
                self._late(message)
            return
        assert shard.watermark_ms is not None
        error = TooLate(at(self._at_ms(message)), at(shard.watermark_ms))
        if not self._has_told:
            self._has_told = True
            where = self._letters.name(self._topic.name)
            tell("WARNING", f"messages of {self._topic.name} that come too late go to {where} (told once): {error}")
        self._put_aside(message._record, error)

    def _put_aside(self, record: Record, error: Exception) -> None:
        put_aside(record, error, letters=self._letters, attempt=1, route=self._topic._route, out=transaction())

    def _window(self, number: int, which: Id, entry: Entry) -> Window[T]:
        start_ms = int(which.name)
        return Window(
            entry.value,
            raw_key=which.key,
            start_ms=start_ms,
            end_ms=start_ms + self._spans.size_ms,
            count=entry.count,
            **self._loop.inputs(number, entry),
        )


class KeyTimers:
    """The `Timers` of one key, for as long as a handler has its message or timer in hand."""

    def __init__(self, shard: Shard, key: bytes | None, *, inputs: Inputs, rerun: bool) -> None:
        self._shard = shard
        self._key = key
        self._inputs = inputs
        self._rerun = rerun

    def set(self, at: datetime, *, name: str = "", data: Any = None, clock: Clock = "event") -> None:
        first, until = self._inputs
        self._shard.put(Id("timer", self._key, name), Entry(event_ms(at), clock, data, first, until, 1, self._rerun))

    def cancel(self, name: str = "") -> bool:
        return self._shard.remove(Id("timer", self._key, name))


class Timed:
    """One call of `Topic.process_timed`."""

    def __init__(
        self,
        topic: "Topic[Any]",
        on_message: Callable[[Message[Any], KeyTimers], Any],
        on_timer: Callable[[Timer, KeyTimers], Any],
        *,
        when: When | None,
        dead_letters: DeadLetters | None,
        name: str | None,
        every: float,
        now: Now | None,
    ) -> None:
        self._topic = topic
        self._on_message = on_message
        self._on_timer = on_timer
        self._when = when
        self._letters = dead_letters
        if dead_letters is not None:
            dead_letters.prepare(topic.name, topic._place.way)
        self._loop = Loop(topic, "timers", name=name, every=every, now=now)

    def run(self, timeout: float | None) -> None:
        try:
            while (work := self._loop.next(self._take, timeout)) is not None:
                work()
        finally:
            hold(None)

    def _take(self, wait: float | None) -> Callable[[], None] | None:
        """What is to be done next."""
        due = self._loop.pop_due()
        if due is None:
            records = self._loop.records(1, wait)
            if records:
                return partial(self._work_on, records[0])
            due = self._loop.pop_due()
        return None if due is None else partial(self._fire, *due)

    def _work_on(self, record: Record) -> None:
        shard = self._loop.changelog.shards[record.partition()]
        try:
            message = self._topic._message(record)
            if message is None:
                return
            when = message.timestamp if self._when is None else self._when(message)
            if when is not None:
                shard.advance(event_ms(when))
            inputs = (record.offset(), record.offset() + 1)
            timers = KeyTimers(shard, message.raw_key, inputs=inputs, rerun=message.rerun)
            with holding(message):
                self._on_message(message, timers)
        except HeldBack as held:
            tell_once(held)
        except Exception as error:
            if self._letters is None or not self._letters.takes(error):
                raise
            put_aside(record, error, letters=self._letters, attempt=1, route=self._topic._route, out=transaction())

    def _fire(self, number: int, which: Id, entry: Entry) -> None:
        shard = self._loop.changelog.shards[number]
        more: dict[str, Any] = self._loop.inputs(number, entry)
        timer = Timer(which.name, raw_key=which.key, at=at(entry.due_ms), data=entry.value, clock=entry.clock, **more)
        timers = KeyTimers(shard, which.key, inputs=(entry.first, entry.until), rerun=entry.rerun)
        try:
            with holding(timer):
                self._on_timer(timer, timers)
        except HeldBack as held:
            tell_once(held)
