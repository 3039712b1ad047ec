"""A transport that knows when a script has read everything there is, so that a loop without end can end.

It also gives every topic one partition, so that what a script sends has one order, makes every topic that a script
asks for, and dates what is sent without a time by the script's clock.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from kirby.errors import KirbyError
from kirby.transport import Headers, Position, Receiver, Record, Sender, Start, TopicAdmin, Transport


class Counting:
    """Around the transport of a cluster, whose topics of this test begin with `prefix`.

    `now_ms`: the time of what is sent without one; None: the cluster's.
    """

    def __init__(self, way: Transport, *, prefix: str = "", now_ms: Callable[[], int] | None = None) -> None:
        self.way = way
        self.prefix = prefix
        self.now_ms = now_ms
        self.sent: dict[str, int] = defaultdict(int)
        self.read: dict[tuple[str, str], set[tuple[int, int]]] = {}
        """By group and topic, the places that were given out."""
        self.lock = threading.Lock()

    @property
    def servers(self) -> str:
        return self.way.servers

    def sender(
        self,
        *,
        on_failure: Callable[[str, str], None],
        transactional_id: str | None = None,
        at_once: bool = False,
    ) -> Sender:
        inner = self.way.sender(on_failure=on_failure, transactional_id=transactional_id, at_once=at_once)
        return cast(Sender, _Sender(self, inner, transactional=transactional_id is not None))

    def receiver(self, *, group: str | None, start: Start = "earliest", member: str | None = None) -> Receiver:
        if group is None:
            return self.way.receiver(group=None, start=start)
        # What the script is given lies there before it begins to read.
        return cast(Receiver, _Receiver(self, self.way.receiver(group=group, start="earliest", member=member), group))

    def admin(self) -> TopicAdmin:
        return cast(TopicAdmin, _Admin(self.way.admin(), self.prefix))

    def at(self, servers: str) -> Transport:
        return self

    def count(self, topic: str, number: int = 1) -> None:
        """So many messages are on a topic now, for whoever reads it."""
        with self.lock:
            self.sent[topic] += number

    def is_read(self, topic: str) -> bool:
        """Whether every group that reads the topic has got all of it."""
        with self.lock:
            return all(len(seen) >= self.sent[name] for (_, name), seen in self.read.items() if name == topic)

    def all_read(self) -> bool:
        """The same of every topic that is read."""
        return all(self.is_read(topic) for _, topic in list(self.read))


class _Sender:
    def __init__(self, counting: Counting, inner: Sender, *, transactional: bool) -> None:
        self._counting = counting
        self._inner = inner
        self._transactional = transactional
        self._in_transaction: list[str] = []

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
        if not at_ms and self._counting.now_ms is not None:
            at_ms = self._counting.now_ms()
        self._inner.send(topic, value, key, headers, at_ms, partition, on_failure)
        if self._transactional:
            self._in_transaction.append(topic)
        else:
            self._counting.count(topic)

    def add_offsets(self, positions: Sequence[Position], receiver: Receiver) -> None:
        inner = receiver.inner if isinstance(receiver, _Receiver) else receiver
        self._inner.add_offsets(positions, inner)

    def commit(self) -> None:
        self._inner.commit()
        for topic in self._in_transaction:
            self._counting.count(topic)
        self._in_transaction = []

    def abort(self) -> None:
        self._in_transaction = []
        self._inner.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Receiver:
    def __init__(self, counting: Counting, inner: Receiver, group: str) -> None:
        self._counting = counting
        self.inner = inner
        self._group = group

    def subscribe(self, topics: Sequence[str], **callbacks: Any) -> None:
        with self._counting.lock:
            for topic in topics:
                self._counting.read.setdefault((self._group, topic), set())
        self.inner.subscribe(topics, **callbacks)

    def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        # What is counted is all there is: nothing to wait for.
        records = self.inner.poll(limit, 0 if self._counting.all_read() else timeout)
        if records:
            with self._counting.lock:
                for record in records:
                    seen = self._counting.read[self._group, record.topic()]
                    seen.add((record.partition(), record.offset()))
        return records

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class _Admin:
    def __init__(self, inner: TopicAdmin, prefix: str) -> None:
        self._inner = inner
        self._prefix = prefix

    def partitions(self, topic: str, *, timeout: float = 15.0) -> int | None:
        """A topic of the script's is made when it is first asked for; Kirby's own are there or not."""
        if self._prefix and topic.startswith("."):
            # Of the suite whose broker it is: no test writes there.
            return None
        if not topic.startswith(self._prefix):
            raise KirbyError(f"A test on Kafka reads no topic of another environment, as {topic!r} is")
        known = self._inner.partitions(topic, timeout=timeout)
        if known is None and not topic.removeprefix(self._prefix).startswith("."):
            self.create(topic, partitions=1)
            return 1
        return known

    def create(self, topic: str, *, partitions: int, config: Mapping[str, str] | None = None) -> bool:
        return self._inner.create(topic, partitions=1, config=config)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
