"""The sending half of Kafka in memory."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kirby.errors import KafkaUnavailable, NotDelivered
from kirby.testing._receiver import MemoryReceiver
from kirby.transport import BufferFull, Fenced, Headers, Position, Receiver

if TYPE_CHECKING:
    from kirby.testing.memory import MemoryKafka, Unsent


class MemorySender:
    """Delivers at once while the broker is there; within a transaction, at its commit."""

    def __init__(
        self, kafka: "MemoryKafka", *, on_failure: Callable[[str, str], None], transactional_id: str | None
    ) -> None:
        self._kafka = kafka
        self._on_failure = on_failure
        self._id = transactional_id
        self._epoch: int | None = None
        self._held: list[tuple[Unsent, Callable[[str, str], None]]] = []
        self._offsets: list[tuple[Sequence[Position], MemoryReceiver]] = []
        self._open = False

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
        if len(value or b"") + len(key or b"") > self._kafka.max_bytes:
            raise NotDelivered(topic, 1, f"the message is larger than {self._kafka.max_bytes} bytes")
        if len(self._held) >= self._kafka.buffer:
            raise BufferFull(f"{len(self._held)} records are waiting for the broker in memory")
        if self._id is not None:
            self._must_be_open()
        self._held.append(((topic, value, key, headers, at_ms, partition), on_failure or self._on_failure))
        if not self._open:
            self.serve()

    def serve(self, timeout: float = 0.0) -> None:
        if self._open or not self._kafka.available:
            return
        held, self._held = self._held, []
        self._deliver(held, marked=False)

    def waiting(self) -> int:
        return len(self._held)

    def flush(self, timeout: float) -> int:
        self.serve()
        return len(self._held)

    def begin(self) -> None:
        assert self._id is not None, "only a sender with a transactional id has transactions"
        self._kafka.must_answer()
        if self._epoch is None:
            self._epoch = self._kafka.epochs[self._id] = self._kafka.epochs.get(self._id, 0) + 1
        self._must_be_newest()
        self._open = True

    def add_offsets(self, positions: Sequence[Position], receiver: Receiver) -> None:
        assert isinstance(receiver, MemoryReceiver)
        self._must_be_open()
        self._kafka.must_answer()
        self._must_be_newest()
        with self._kafka.changed:
            receiver.must_hold(positions)
        self._offsets.append((positions, receiver))

    def commit(self) -> None:
        self._must_be_open()
        self._kafka.must_answer()
        self._must_be_newest()
        with self._kafka.changed:
            for positions, receiver in self._offsets:
                receiver.must_hold(positions)
            for positions, receiver in self._offsets:
                receiver.remember(positions)
            held = self._end()
            self._deliver(held, marked=True)

    def abort(self) -> None:
        self._end()
        self._must_be_newest()

    def close(self) -> None:
        self._end()

    def _end(self) -> "list[tuple[Unsent, Callable[[str, str], None]]]":
        held, self._held, self._offsets, self._open = self._held, [], [], False
        return held

    def _deliver(self, held: "list[tuple[Unsent, Callable[[str, str], None]]]", *, marked: bool) -> None:
        known = []
        for unsent, on_failure in held:
            if unsent[0] in self._kafka.logs:
                known.append(unsent)
            else:
                on_failure(unsent[0], "there is no such topic")
        if known:
            self._kafka.append(known, marked=marked)

    def _must_be_open(self) -> None:
        if not self._open:
            raise KafkaUnavailable(self._kafka.servers, "no transaction was begun")

    def _must_be_newest(self) -> None:
        if self._id is not None and self._kafka.epochs.get(self._id) != self._epoch:
            raise Fenced(f"A newer process has the transactional id {self._id!r}")
