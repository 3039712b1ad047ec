"""Kafka in memory: passes the suite of `kirby.transport` that Kafka passes, without a broker and always alike."""

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson

from kirby import transport
from kirby._murmur2 import murmur2
from kirby.errors import KafkaUnavailable
from kirby.testing._members import Groups
from kirby.testing._receiver import MemoryReceiver
from kirby.testing._sender import MemorySender
from kirby.transport import Headers, Start


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """A record of a topic in memory; its methods are those of `kirby.transport.Record`."""

    topic_name: str
    partition_number: int
    number: int
    key_bytes: bytes | None
    value_bytes: bytes | None
    header_list: tuple[tuple[str, bytes | None], ...] = ()
    at_ms: int = 0

    def topic(self) -> str:
        """Its topic's name."""
        return self.topic_name

    def partition(self) -> int:
        """Its partition's number."""
        return self.partition_number

    def offset(self) -> int:
        """Its place in the partition."""
        return self.number

    def key(self) -> bytes | None:
        """Its key's bytes, or None."""
        return self.key_bytes

    def value(self) -> bytes | None:
        """Its value's bytes; None is a deletion mark."""
        return self.value_bytes

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """(name, value) in their order, or None where there are none."""
        return list(self.header_list) or None

    def timestamp(self) -> tuple[int, int]:
        """(1, milliseconds since 1970): the sender's time."""
        return (1, self.at_ms)


@dataclass
class Log:
    """A topic: its partitions, each a list in which None is a transaction's marker, and who writes to it next."""

    partitions: list[list[MemoryRecord | None]]
    turn: int = 0
    config: dict[str, str] = field(default_factory=dict)
    identity: str = field(default_factory=lambda: str(uuid.uuid4()))


class MemoryKafka:
    """A cluster in memory, which `with` makes the process's transport.

    Topics must be created before they are used, as in Kafka. Records without a key go to the partitions in turn.
    `now_ms` gives the time of records that tell none (milliseconds since 1970), `buffer` how many records a sender
    holds while `available` is False, which is a broker that is away. `when_idle`, if set, is called when a poll has
    found nothing, instead of waiting; when it gives True, the poll looks once more.

    >>> with MemoryKafka() as kafka:
    ...     kafka.create("readings", partitions=1)
    ...     kafka.add("readings", {"celsius": 11.4}, key="Seattle")
    ...     kafka.values("readings")
    True
    [{'celsius': 11.4}]
    """

    def __init__(
        self,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        buffer: int = 10_000,
        servers: str = "memory",
    ) -> None:
        self.servers = servers
        self.now_ms = now_ms
        self.buffer = buffer
        self.available = True
        self.max_bytes = 1_000_000
        self.when_idle: Callable[[], bool] | None = None
        self.logs: dict[str, Log] = {}
        self.groups: Groups = Groups(self._width)
        self.epochs: dict[str, int] = {}
        self.changed: threading.Condition = threading.Condition(threading.RLock())
        self._elsewhere: dict[str, MemoryKafka] = {servers: self}
        self._using: AbstractContextManager[Any] | None = None

    def sender(
        self,
        *,
        on_failure: Callable[[str, str], None],
        transactional_id: str | None = None,
        at_once: bool = False,
    ) -> MemorySender:
        """As `Transport.sender`."""
        return MemorySender(self, on_failure=on_failure, transactional_id=transactional_id)

    def receiver(self, *, group: str | None, start: Start = "earliest", member: str | None = None) -> MemoryReceiver:
        """As `Transport.receiver`."""
        return MemoryReceiver(self, group=group, start=start, member=member)

    def admin(self) -> "MemoryKafka":
        """The cluster itself."""
        return self

    def at(self, servers: str) -> "MemoryKafka":
        """Another cluster in memory, by its address; always the same one."""
        if servers not in self._elsewhere:
            other = MemoryKafka(now_ms=self.now_ms, buffer=self.buffer, servers=servers)
            other._elsewhere = self._elsewhere
            self._elsewhere[servers] = other
        return self._elsewhere[servers]

    def partitions(self, topic: str, *, timeout: float = 15.0) -> int | None:
        """How many the topic has; None when there is no such topic."""
        self.must_answer()
        return self._width(topic) or None

    def create(self, topic: str, *, partitions: int = 4, config: Mapping[str, str] | None = None) -> bool:
        """Create a topic; False when it is there already."""
        self.must_answer()
        with self.changed:
            if topic in self.logs:
                return False
            self.logs[topic] = Log([[] for _ in range(partitions)], config=dict(config or {}))
            self.groups.topic_changed(topic)
            self.changed.notify_all()
        return True

    def delete(self, topic: str) -> None:
        """Delete a topic with its records."""
        self.must_answer()
        with self.changed:
            self.logs.pop(topic, None)
            self.groups.topic_changed(topic)

    def config(self, topic: str) -> Mapping[str, str]:
        """A topic's settings, by the broker's names."""
        self.must_answer()
        return {"retention.ms": "-1"} | self.logs[topic].config if topic in self.logs else {}

    def names(self, *, prefix: str = "") -> list[str]:
        """The topics whose names begin so, sorted."""
        self.must_answer()
        return sorted(name for name in self.logs if name.startswith(prefix))

    def identity(self, topic: str) -> str:
        """Tells a topic from one of the same name that was there before it."""
        self.must_answer()
        return self.logs[topic].identity if topic in self.logs else ""

    def appended(self, topic: str, partitions: Sequence[int]) -> Mapping[int, int]:
        """Of each partition, the offset that the next record would get."""
        self.must_answer()
        return {number: len(self.logs[topic].partitions[number]) for number in partitions}

    def cluster_id(self) -> str:
        """Which cluster this is."""
        return f"memory-{self.servers}"

    def records(self, topic: str) -> list[MemoryRecord]:
        """Every committed record of a topic, partition by partition."""
        log = self.logs.get(topic)
        return [record for part in log.partitions for record in part if record is not None] if log else []

    def values(self, topic: str) -> list[Any]:
        """The records' values, read as JSON, partition by partition."""
        return [None if r.value_bytes is None else orjson.loads(r.value_bytes) for r in self.records(topic)]

    def add(
        self,
        topic: str,
        value: Any,
        *,
        key: str | bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
        at_ms: int = 0,
        partition: int = -1,
    ) -> None:
        """Put a record on a topic, which is created when absent; a value that is not bytes is written as JSON."""
        if topic not in self.logs:
            self.create(topic)
        data = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
        name = key.encode() if isinstance(key, str) else key
        self.append([(topic, data, name, list((headers or {}).items()), at_ms, partition)])

    def append(self, batch: Iterable["Unsent"], *, marked: bool = False) -> None:
        """Write records at once; `marked` ends each of their partitions with a transaction's marker."""
        touched: set[tuple[str, int]] = set()
        with self.changed:
            for topic, value, key, headers, at_ms, partition in batch:
                log = self.logs[topic]
                number = self._place(log, key, partition)
                part = log.partitions[number]
                given = tuple((n, v.encode() if isinstance(v, str) else v) for n, v in headers)
                at = at_ms or self.now_ms()
                part.append(MemoryRecord(topic, number, len(part), key, value, given, at))
                touched.add((topic, number))
            if marked:
                for topic, number in touched:
                    self.logs[topic].partitions[number].append(None)
            self.changed.notify_all()

    def must_answer(self) -> None:
        """Raises KafkaUnavailable while the broker is away."""
        if not self.available:
            raise KafkaUnavailable(self.servers, "the broker in memory is away")

    def __enter__(self) -> Self:
        self._using = transport.using(self)
        self._using.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._using is not None
        self._using.__exit__(kind, error, trace)

    def _width(self, topic: str) -> int:
        return len(self.logs[topic].partitions) if topic in self.logs else 0

    def _place(self, log: Log, key: bytes | None, partition: int) -> int:
        if partition >= 0:
            return partition
        if key:
            return murmur2(key) % len(log.partitions)
        log.turn += 1
        return (log.turn - 1) % len(log.partitions)


Unsent = tuple[str, bytes | None, bytes | None, Headers, int, int]
"""Topic, value, key, headers, time in ms, partition or -1."""
