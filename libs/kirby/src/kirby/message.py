"""A message as a script sees it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from kirby import lineage
from kirby._process import Route, header_of, is_from_rerun, process
from kirby.rewinding import Mark
from kirby.transport import Record

V = TypeVar("V")


class Message(Generic[V]):
    """One message of a topic, as it was read.

    `value` is what the Topic's serializer made of the bytes: parsed JSON by default, the model's instance with
    `model=`, None for a deletion mark. `kirby.testing.message` makes one for tests.

    >>> from kirby.testing import message
    >>> reading = message({"celsius": 11.4}, key="Seattle", topic="weather.raw", offset=17)
    >>> reading.key, reading.place, reading.value
    ('Seattle', '0:17', {'celsius': 11.4})
    """

    __slots__ = ("_record", "_route", "value")

    value: V

    def __init__(self, value: V, record: Record, route: Route) -> None:
        """Scripts get messages from a Topic; tests from `kirby.testing.message`."""
        self.value = value
        self._record = record
        self._route = route

    @property
    def key(self) -> str | None:
        """The key as text; bytes that are no UTF-8 show as `�` and are in `raw_key`."""
        key: bytes | None = self._record.key()
        return None if key is None else key.decode(errors="replace")

    @property
    def raw_key(self) -> bytes | None:
        """The key's bytes."""
        key: bytes | None = self._record.key()
        return key

    @property
    def raw(self) -> bytes | None:
        """The value's bytes, as they were on the topic."""
        value: bytes | None = self._record.value()
        return value

    @property
    def headers(self) -> Mapping[str, bytes]:
        """The headers by name, Kirby's own `kirby` left out; of two with one name the last."""
        return {name: value for name, value in self._record.headers() or () if name != lineage.HEADER}

    @property
    def lineage(self) -> lineage.Lineage | None:
        """Where the message comes from; None for one that Kirby did not write."""
        header = header_of(self._record)
        return None if header is None else lineage.unpack(header)

    @property
    def rerun(self) -> bool:
        """Whether the message was made by a re-run, or is read again by a rewind."""
        route = self._route
        return is_from_rerun(self._record) or (bool(route.marks) and route.rewound(self._record))

    @property
    def topic(self) -> str:
        """The broker's name of the topic, prefix included."""
        return self._record.topic()

    @property
    def partition(self) -> int:
        """The partition's number, from 0."""
        return self._record.partition()

    @property
    def offset(self) -> int:
        """The message's number within its partition."""
        return self._record.offset()

    @property
    def timestamp(self) -> datetime | None:
        """When it was sent, or submitted as; aware, in UTC. None where the broker knows none."""
        kind, at_ms = self._record.timestamp()
        return datetime.fromtimestamp(at_ms / 1000, UTC) if kind else None

    @property
    def place(self) -> str:
        """`partition:offset`, as the `kirby` command writes it."""
        return f"{self.partition}:{self.offset}"

    def onward(self) -> bytes:
        """The `kirby` header of what is made from this message alone."""
        return self._route.onward(self._record)

    def __repr__(self) -> str:
        return f"Message({self.value!r}, key={self.key!r}, topic={self.topic!r}, place={self.place!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Into a process pool goes a copy of the record, for the driver's own can't travel."""
        record = self._record
        fields = (
            record.topic(),
            record.partition(),
            record.offset(),
            record.key(),
            record.value(),
            tuple(record.headers() or ()),
            record.timestamp()[1],
        )
        mark = self._route.marks.get(record.partition())
        return _unpickled, (self.value, fields, self._route.origin, mark)


def _unpickled(value: Any, fields: tuple[Any, ...], origin: str, mark: Mark | None) -> Message[Any]:
    from kirby.testing.memory import MemoryRecord

    record = MemoryRecord(*fields)
    route = Route(record.topic(), origin)
    route.marks = {} if mark is None else {record.partition(): mark}
    return Message(value, record, route)


class Onward:
    """What was made from several messages: a new trace, whose input offsets are told once something is made from it.

    `ranges`: per (topic, partition) the offsets [from, to) that met in it; `rerun`: whether a re-run's was among them.
    """

    __slots__ = ("_header", "_origin", "_topic", "ranges", "rerun")

    def __init__(
        self, topic: str, ranges: Mapping[tuple[str, int], tuple[int, int]], *, rerun: bool, origin: str = ""
    ) -> None:
        self._header: bytes | None = None
        self._topic = topic
        self._origin = origin
        self.ranges: Mapping[tuple[str, int], tuple[int, int]] = ranges
        self.rerun: bool = rerun

    def onward(self) -> bytes:
        """The `kirby` header of what is made from it; the same for all of it."""
        if self._header is None:
            this = process()
            trace = this.trace()
            this.joined(trace, self._topic, self.ranges)
            flags = lineage.JOINED | (lineage.RERUN if self.rerun or this.rerun else 0)
            hop = lineage.pack_hop(this.id_for(self._topic), lineage.NO_INPUT, lineage.NO_INPUT)
            self._header = lineage.begin(trace, hop, flags=flags, origin=self._origin)
        return self._header


class Several:
    """Messages that are in hand together: what is made from them begins a new trace, and tells of its inputs."""

    __slots__ = ("_messages", "_onward")

    def __init__(self, messages: Sequence[Message[Any]]) -> None:
        self._messages = messages
        self._onward: bytes | None = None

    def onward(self) -> bytes:
        """The `kirby` header of what is made from all of them."""
        if self._onward is None:
            self._onward = self._made_from_these()
        return self._onward

    def _made_from_these(self) -> bytes:
        first = self._messages[0]
        if len(self._messages) == 1:
            return first.onward()
        rerun = process().rerun or any(m.rerun for m in self._messages)
        return Onward(first.topic, _ranges(self._messages), rerun=rerun, origin=first._route.origin).onward()


def _ranges(messages: Sequence[Message[Any]]) -> dict[tuple[str, int], tuple[int, int]]:
    """Per topic and partition, the offsets [from, to) that the messages span."""
    offsets: dict[tuple[str, int], list[int]] = {}
    for message in messages:
        record = message._record
        offsets.setdefault((record.topic(), record.partition()), []).append(record.offset())
    return {where: (min(some), max(some) + 1) for where, some in offsets.items()}
