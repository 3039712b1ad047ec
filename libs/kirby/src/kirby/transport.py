"""The port to Kafka: what the SDK asks of it, and nothing else.

Two transports keep this contract and pass one suite: confluent-kafka, which is what scripts use, and
`kirby.testing.MemoryKafka`. One is chosen per process: `current()` gives it, `using(transport)` puts another in its
place for as long as a `with` block lasts. A transport connects when something is first asked of it.

Times are milliseconds since 1970 where Kafka reckons so (the names end in `_ms`); timeouts are seconds. Offsets are
those of the next record to be read, as in Kafka's own commits.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, Protocol

from kirby.errors import KirbyError

Start = Literal["earliest", "latest"]
BEGINNING = -2
"""As an offset to assign or seek: the first record that is still there."""
END = -1
"""As an offset to assign or seek: after the last record."""
Headers = list[tuple[str, str | bytes | None]]
"""A record's headers in their order; names may come twice."""


class BufferFull(KirbyError):
    """A sender holds as much as it may: call `serve`, or wait, and send again."""


class TransientFailure(KirbyError):
    """Kafka could not do it now (no coordinator, no leader, a rebalance under way); worth another try."""


class NotAMember(KirbyError):
    """A commit or transaction came too late: the partitions are, or are about to be, another reader's."""


class Fenced(KirbyError):
    """A newer process has this one's transactional id or place in the group; this one must end."""


class Record(Protocol):
    """A record as it was read. Methods, as in confluent-kafka, whose own objects are handed on without a copy."""

    def topic(self) -> str: ...
    def partition(self) -> int: ...
    def offset(self) -> int: ...
    def key(self) -> Any:
        """bytes, or None."""

    def value(self) -> Any:
        """bytes, or None for a deletion mark."""

    def headers(self) -> Any:
        """A list of (name, bytes | None), or None where there are none."""

    def timestamp(self) -> tuple[int, int]:
        """(kind, milliseconds since 1970); kind 0: there is none, 1: told by the sender, 2: by the broker."""


class Position(NamedTuple):
    """A place in a topic's partition, and what is remembered with a commit of it."""

    topic: str
    partition: int
    offset: int
    metadata: str = ""


class Watermarks(NamedTuple):
    """The first offset that is still there, and the one that the next record will get."""

    low: int
    high: int


class Sender(Protocol):
    """Sends records in the background: idempotent, in order within a partition, partitioned by murmur2 of the key.

    Made by `Transport.sender`. Plain use: `send` … `flush`. With a transactional id: `begin`, `send` …,
    `add_offsets`, `commit`, or `abort` at any time after `begin`; then `begin` again. Threads may share it for
    `send`, `serve` and `flush`.
    """

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        at_ms: int,
        partition: int = -1,
        on_failure: Callable[[str, str], None] | None = None,
    ) -> None:
        """Take over one record. Positional, because it is called for each message.

        `at_ms` 0 is now; `partition` -1 lets the key decide, and a record without a key goes anywhere.
        What can't be delivered is told to `on_failure(topic, reason)`, else to the sender's own, during a later
        `serve`, `flush` or `send`. Raises BufferFull; NotDelivered for a record that is too large.
        """

    def serve(self, timeout: float = 0.0) -> None:
        """Tell of failures, and make room; waits up to `timeout` for there to be something to tell."""

    def waiting(self) -> int:
        """How many records are not delivered yet."""

    def flush(self, timeout: float) -> int:
        """Wait until all is delivered or has failed, up to `timeout`; gives how many are left."""

    def begin(self) -> None:
        """Begin a transaction. The first one waits for the broker to fence older holders of the id: raises Fenced,
        TransientFailure, KafkaUnavailable."""

    def add_offsets(self, positions: Sequence[Position], receiver: "Receiver") -> None:
        """Make a commit of `positions` part of the transaction, fenced by the group membership of `receiver`.

        Raises NotAMember when the membership is over (abort then), Fenced, TransientFailure (abort, or call again).
        """

    def commit(self) -> None:
        """Deliver everything and commit the transaction. Raises NotDelivered or NotAMember (abort then), Fenced, or
        TransientFailure (call again: whether it was committed is not known yet)."""

    def abort(self) -> None:
        """Drop what was sent since `begin`; readers of committed records never see it. Raises Fenced."""

    def close(self) -> None:
        """Give up what is not delivered. Nothing may be called afterwards."""


class Receiver(Protocol):
    """Reads committed records. Made by `Transport.receiver`; either `subscribe` or `assign` is called first, once.

    One thread at a time, but for `pause` and `resume`, which belong to the thread that polls, too.
    """

    def subscribe(
        self, topics: Sequence[str], *, on_assign: "Changed | None" = None, on_revoke: "Changed | None" = None
    ) -> None:
        """Share the topics with the group's other members.

        During `poll` and `close`: `on_revoke` with the partitions that go (commits of them still work in it, unless
        they were lost), and `on_assign` with those that come, which begin at the group's commit, else at `start`.
        """

    def assign(self, positions: Sequence[Position]) -> None:
        """Read these partitions, from these offsets, without a group's say. Replaces what was assigned before."""

    def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        """What is there, up to `limit` records, in order within a partition; waits up to `timeout` for the first.

        Must be called now and then, or the membership ends. Raises TopicAbsent, Fenced, and KafkaUnavailable for
        what Kafka can't mend by itself; a broker that is merely away gives nothing.
        """

    def assigned(self) -> set[tuple[str, int]]:
        """The (topic, partition)s that are ours."""

    def ends(self) -> Mapping[tuple[str, int], int]:
        """Where `poll` met a partition's end: the offset that the next record there would get, markers counted.

        So one who reads up to an offset knows when nothing is left below it. Only receivers without a group tell.
        """

    def seek(self, position: Position) -> None:
        """Read an assigned partition from there next. Records already given out are the caller's to forget."""

    def pause(self, topic: str, partitions: Sequence[int]) -> None:
        """Read nothing of these until `resume`; membership goes on while `poll` is called."""

    def resume(self, topic: str, partitions: Sequence[int]) -> None:
        """Undo `pause`; does nothing to others."""

    def commit(self, positions: Sequence[Position]) -> None:
        """Remember the positions and their metadata for the group. Raises NotAMember, TransientFailure, Fenced,
        KafkaUnavailable."""

    def committed(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Position]:
        """The group's commits; partitions without one are left out. More may stand behind their metadata, so that
        it must say itself where it ends. Raises KafkaUnavailable."""

    def offsets_at(self, topic: str, times_ms: Mapping[int, int]) -> Mapping[int, int]:
        """Per partition, the offset of the first record at or after its time, else the end. Raises KafkaUnavailable."""

    def watermarks(self, topic: str, partition: int) -> Watermarks:
        """Asks the leader. The high one is that of committed records. Raises KafkaUnavailable."""

    def close(self) -> None:
        """Leave the group (a static member stays until its session ends). Nothing may be called afterwards."""


Changed = Callable[["Receiver", Sequence[tuple[str, int]]], None]
"""Called with the receiver and the (topic, partition)s that came or went."""


class TopicAdmin(Protocol):
    """Looks after topics. Threads may share it. Every method raises KafkaUnavailable when no broker answers."""

    def partitions(self, topic: str, *, timeout: float = 15.0) -> int | None:
        """How many partitions the topic has; None when there is no such topic. Never creates one."""

    def create(self, topic: str, *, partitions: int, config: Mapping[str, str] | None = None) -> bool:
        """Create it, replicated where there are brokers to; False when it is already there. `config` has the broker's
        names. Raises KirbyError when the broker refuses."""

    def delete(self, topic: str) -> None:
        """Delete it with all its records; no error when it is not there."""

    def config(self, topic: str) -> Mapping[str, str]:
        """The topic's settings, by the broker's names; empty when there is no such topic."""

    def names(self, *, prefix: str = "") -> list[str]:
        """The topics whose names begin so, sorted."""

    def identity(self, topic: str) -> str:
        """What tells the topic from another one that had its name before; "" when there is no such topic."""

    def appended(self, topic: str, partitions: Sequence[int]) -> Mapping[int, int]:
        """The offset that each partition's next record will get, those of open transactions counted."""

    def cluster_id(self) -> str:
        """Which cluster this is: two addresses of one cluster give the same."""


class Transport(Protocol):
    """A way to one Kafka cluster."""

    @property
    def servers(self) -> str:
        """Its address, for sentences."""

    def sender(
        self,
        *,
        on_failure: Callable[[str, str], None],
        transactional_id: str | None = None,
        at_once: bool = False,
    ) -> Sender:
        """A new sender; `on_failure(topic, reason)` is told of each record that could not be delivered.

        `at_once`: for who waits for each record, so that none waits for others to go along with it."""

    def receiver(self, *, group: str | None, start: Start = "earliest", member: str | None = None) -> Receiver:
        """A new receiver. `group` None reads alone and commits nothing. `start`: where a partition without a commit
        begins. `member` makes it a static member of that name: who comes back under it gets its partitions at once."""

    def admin(self) -> TopicAdmin:
        """The cluster's topics."""

    def at(self, servers: str) -> "Transport":
        """The same kind of transport to another cluster."""


_current: Transport | None = None
_choosing = threading.Lock()


def current() -> Transport:
    """The process's transport: the one that `using` chose, else confluent-kafka by the usual variables."""
    global _current
    with _choosing:
        if _current is None:
            from kirby._confluent import Confluent

            _current = Confluent()
        return _current


def is_known() -> bool:
    """Whether there is a transport, or the variables say where Kafka is."""
    return _current is not None or "KAFKA_BOOTSTRAP_SERVERS" in os.environ


@contextmanager
def using(transport: Transport) -> Iterator[Transport]:
    """Send and read over `transport` while the block lasts; what was sent is delivered and the way closed at its end.

    For tests, and for the whole process: not for one thread of several.
    """
    global _current
    from kirby import _outbox, _process, _reader

    before, _current = _current, transport
    outbox_before = _outbox.swap(None)
    _process.forget()
    try:
        yield transport
    finally:
        try:
            _reader.close_all()
            _process.tell_touches()
            _outbox.shut()
        finally:
            _current = before
            _outbox.swap(outbox_before)
            _process.forget()
