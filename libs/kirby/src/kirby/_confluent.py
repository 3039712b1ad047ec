"""confluent-kafka as a transport. The only module that knows the driver, with its options in `_kafka`."""

import os
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic

from kirby import _kafka
from kirby.errors import KafkaUnavailable, KirbyError, NotDelivered, TopicAbsent
from kirby.transport import (
    BufferFull,
    Changed,
    Fenced,
    Headers,
    NotAMember,
    Position,
    Receiver,
    Record,
    Start,
    TransientFailure,
    Watermarks,
)

_ANSWER_S = 15.0
_ANSWER_SLICE_S = 0.005
_TRANSACTION_S = 30.0
_ABSENT = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
_LEADERLESS = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
# librdkafka mends these by itself; they are worth no line and no error.
_PASSING = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT)
_NOT_OURS = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._ASSIGNMENT_LOST,
)
_FENCED = (
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.FENCED_INSTANCE_ID,
)
_WAITING = (
    *_PASSING,
    KafkaError._WAIT_COORD,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.REQUEST_TIMED_OUT,
)


_ways: "weakref.WeakSet[Confluent]" = weakref.WeakSet()


def _forget() -> None:
    """A forked child must not use its parent's clients: the threads behind them are not there."""
    for way in _ways:
        way._admin, way._making = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


class Confluent:
    """The way to a cluster by librdkafka; `servers` None is what the environment says."""

    def __init__(self, servers: str | None = None) -> None:
        self._given = servers
        self._admin: ConfluentAdmin | None = None
        self._making = threading.Lock()
        _ways.add(self)

    @property
    def servers(self) -> str:
        return self._given or _kafka.servers()

    def sender(
        self,
        *,
        on_failure: Callable[[str, str], None],
        transactional_id: str | None = None,
        at_once: bool = False,
    ) -> "ConfluentSender":
        options = self._options() | ({"linger.ms": 0} if at_once else {})
        return ConfluentSender(options, on_failure=on_failure, transactional_id=transactional_id)

    def receiver(
        self, *, group: str | None, start: Start = "earliest", member: str | None = None
    ) -> "ConfluentReceiver":
        options = _kafka.consumer_options(group=group or f"kirby-anonymous-{uuid.uuid4()}", start=start, member=member)
        alone = group is None
        return ConfluentReceiver(options | self._options() | {"enable.partition.eof": alone}, alone=alone)

    def admin(self) -> "ConfluentAdmin":
        with self._making:
            if self._admin is None:
                self._admin = ConfluentAdmin(_kafka.client_options() | self._options())
            return self._admin

    def at(self, servers: str) -> "Confluent":
        return Confluent(servers)

    def _options(self) -> _kafka.Options:
        return {"bootstrap.servers": self.servers}


class ConfluentSender:
    def __init__(
        self, options: _kafka.Options, *, on_failure: Callable[[str, str], None], transactional_id: str | None
    ) -> None:
        self._servers = str(options["bootstrap.servers"])
        self._on_failure = on_failure
        self._transactional = transactional_id is not None
        self._begun_once = False
        settings = _kafka.producer_options(transactional_id=transactional_id) | options
        self._producer = Producer(settings | {"on_delivery": self._delivered})
        self._produce = self._producer.produce

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
        try:
            if on_failure is None:
                self._produce(topic, value, key, partition, None, None, at_ms, headers)
            else:
                self._produce(topic, value, key, partition, None, _teller(on_failure), at_ms, headers)
        except BufferError:
            raise BufferFull(f"As much as may wait for Kafka at {self._servers} is waiting") from None
        except KafkaException as error:
            raise NotDelivered(topic, 1, error.args[0].str()) from error

    def serve(self, timeout: float = 0.0) -> None:
        self._producer.poll(timeout)

    def waiting(self) -> int:
        return len(self._producer)

    def flush(self, timeout: float) -> int:
        return self._producer.flush(timeout)

    def begin(self) -> None:
        if not self._begun_once:
            self._transact(self._producer.init_transactions, _TRANSACTION_S)
            self._begun_once = True
        self._transact(self._producer.begin_transaction)

    def add_offsets(self, positions: Sequence[Position], receiver: Receiver) -> None:
        assert isinstance(receiver, ConfluentReceiver)
        offsets = [_driver_position(p) for p in positions]
        membership = receiver.consumer.consumer_group_metadata()
        self._transact(self._producer.send_offsets_to_transaction, offsets, membership, _TRANSACTION_S)

    def commit(self) -> None:
        self._transact(self._producer.commit_transaction, _TRANSACTION_S)

    def abort(self) -> None:
        self._transact(self._producer.abort_transaction, _TRANSACTION_S)

    def close(self) -> None:
        with suppress(KafkaException):
            self._producer.purge()
            self._producer.flush(0)

    def _transact(self, step: Callable[..., object], *arguments: object) -> None:
        try:
            step(*arguments)
        except KafkaException as caught:
            error: KafkaError = caught.args[0]
            if error.code() in _FENCED:
                raise Fenced(f"A newer process has taken this one's place: {error.str()}") from caught
            if error.code() in _NOT_OURS or error.code() == KafkaError._TIMED_OUT_QUEUE:
                raise NotAMember(error.str()) from caught
            if error.retriable() or error.code() in _WAITING:
                raise TransientFailure(error.str()) from caught
            if error.txn_requires_abort():
                raise NotDelivered("(transaction)", 1, error.str()) from caught
            raise KafkaUnavailable(self._servers, error.str()) from caught

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._on_failure(str(message.topic()), error.str())


def _teller(on_failure: Callable[[str, str], None]) -> Callable[[KafkaError | None, Any], None]:
    def delivered(error: KafkaError | None, message: Any) -> None:
        if error is not None:
            on_failure(str(message.topic()), error.str())

    return delivered


class ConfluentReceiver:
    patience_s = 5.0
    """How long the answer to a commit may take."""

    def __init__(self, options: _kafka.Options, *, alone: bool) -> None:
        self._servers = str(options["bootstrap.servers"])
        self._alone = alone
        self._lost: set[tuple[str, int]] = set()
        self._ends: dict[tuple[str, int], int] = {}
        self._on_assign: Changed | None = None
        self._on_revoke: Changed | None = None
        self._kept: list[Any] = []
        self._answers: list[tuple[KafkaError | None, Any]] = []
        self._in_callback = False
        self.consumer = Consumer(options | {"on_commit": lambda error, places: self._answers.append((error, places))})

    def subscribe(
        self, topics: Sequence[str], *, on_assign: Changed | None = None, on_revoke: Changed | None = None
    ) -> None:
        self._on_assign, self._on_revoke = on_assign, on_revoke
        self.consumer.subscribe(list(topics), on_assign=self._came, on_revoke=self._went, on_lost=self._went)

    def assign(self, positions: Sequence[Position]) -> None:
        self.consumer.assign([_driver_position(p) for p in positions])

    def poll(self, limit: int, timeout: float) -> Sequence[Record]:
        self._lost.clear()
        if self._kept:
            kept, self._kept = self._kept[:limit], self._kept[limit:]
            return [m for m in kept if self._is_record(m)]
        # `consume` alone would wait for a full batch.
        first = self.consumer.poll(timeout)
        if first is None:
            return ()
        found: list[Any] = [first]
        if limit > 1:
            found += self.consumer.consume(limit - 1, 0)
        if self._lost:
            found = [m for m in found if (m.topic(), m.partition()) not in self._lost]
        good = [m for m in found if m.error() is None]
        return good if len(good) == len(found) else [m for m in found if self._is_record(m)]

    def _is_record(self, message: Any) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            self._ends[message.topic(), message.partition()] = message.offset()
            return False
        if error.code() in _ABSENT:
            raise TopicAbsent(str(message.topic()))
        if error.code() in _FENCED:
            raise Fenced(f"A newer process has taken this one's place: {error.str()}")
        if error.code() not in _PASSING:
            raise KafkaUnavailable(self._servers, f"reading {message.topic()}: {error.str()}")
        return False

    def assigned(self) -> set[tuple[str, int]]:
        return {(p.topic, p.partition) for p in self.consumer.assignment()}

    def ends(self) -> Mapping[tuple[str, int], int]:
        return self._ends

    def seek(self, position: Position) -> None:
        place = (position.topic, position.partition)
        self._ends.pop(place, None)
        self._kept = [m for m in self._kept if (m.topic(), m.partition()) != place]
        try:
            self.consumer.seek(_driver_position(position))
        except KafkaException as error:
            raise TransientFailure(error.args[0].str()) from error

    def pause(self, topic: str, partitions: Sequence[int]) -> None:
        self.consumer.pause([TopicPartition(topic, number) for number in partitions])

    def resume(self, topic: str, partitions: Sequence[int]) -> None:
        self.consumer.resume([TopicPartition(topic, number) for number in partitions])

    def commit(self, positions: Sequence[Position]) -> None:
        if self._alone:
            raise NotAMember("a reader without a group commits nothing")
        # A synchronous commit can wait for ever: librdkafka loses one over a broker's restart now and then, and while
        # it waits nothing else may be asked of the client. So we poll for the answer; to commit twice does no harm.
        self._answers.clear()
        try:
            self.consumer.commit(offsets=[_driver_position(p) for p in positions], asynchronous=True)
        except KafkaException as error:
            self._commit_failed(error.args[0])
        if self._in_callback:
            return  # Sent before the membership changes; polling is not possible here.
        refused = self._answer({(p.topic, p.partition, p.offset) for p in positions})
        if refused is not None:
            self._commit_failed(refused)

    def _answer(self, wanted: set[tuple[str, int, int]]) -> KafkaError | None:
        """What Kafka says to the commit of these. Raises TransientFailure when it says nothing for too long."""
        ends = time.monotonic() + self.patience_s
        while True:
            for error, places in self._answers:
                if {(p.topic, p.partition, p.offset) for p in places or ()} == wanted:
                    return error or next((p.error for p in places if p.error is not None), None)
                if error is not None and not places:
                    return error
            if time.monotonic() >= ends:
                raise TransientFailure(f"no answer within {self.patience_s:g} s")
            message = self.consumer.poll(_ANSWER_SLICE_S)
            if message is not None:
                self._kept.append(message)

    def _commit_failed(self, error: KafkaError) -> NoReturn:
        if error.code() in _NOT_OURS:
            raise NotAMember(error.str())
        if error.code() in _FENCED:
            raise Fenced(f"A newer process has taken this one's place: {error.str()}")
        if error.code() in _WAITING:
            raise TransientFailure(error.str())
        raise KafkaUnavailable(self._servers, f"committing: {error.str()}")

    def committed(self, topic: str, partitions: Sequence[int]) -> Mapping[int, Position]:
        asked = [TopicPartition(topic, number) for number in partitions]
        found = self._ask(self.consumer.committed, asked, timeout=_ANSWER_S)
        return {p.partition: Position(topic, p.partition, p.offset, _metadata(p)) for p in found if p.offset >= 0}

    def offsets_at(self, topic: str, times_ms: Mapping[int, int]) -> Mapping[int, int]:
        asked = [TopicPartition(topic, number, at) for number, at in times_ms.items()]
        found = self._ask(self.consumer.offsets_for_times, asked, timeout=_ANSWER_S)
        return {p.partition: p.offset if p.offset >= 0 else self.watermarks(topic, p.partition).high for p in found}

    def watermarks(self, topic: str, partition: int) -> Watermarks:
        found = self._ask(self.consumer.get_watermark_offsets, TopicPartition(topic, partition), timeout=_ANSWER_S)
        if found is None:
            raise KafkaUnavailable(self._servers, f"no answer within {_ANSWER_S:g} s")
        return Watermarks(*found)

    def close(self) -> None:
        self.consumer.close()

    def _ask(self, question: Callable[..., Any], *arguments: object, timeout: float) -> Any:
        try:
            return question(*arguments, timeout=timeout)
        except KafkaException as error:
            raise KafkaUnavailable(self._servers, error.args[0].str()) from error

    def _came(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        if self._on_assign is not None:
            with self._calling_back():
                self._on_assign(self, [(p.topic, p.partition) for p in partitions])

    def _went(self, consumer: Any, partitions: Sequence[TopicPartition]) -> None:
        gone = [(p.topic, p.partition) for p in partitions]
        self._lost.update(gone)
        self._kept = [m for m in self._kept if (m.topic(), m.partition()) not in self._lost]
        if self._on_revoke is not None:
            with self._calling_back():
                self._on_revoke(self, gone)

    @contextmanager
    def _calling_back(self) -> Iterator[None]:
        self._in_callback = True
        try:
            yield
        finally:
            self._in_callback = False


def _metadata(place: TopicPartition) -> str:
    """The metadata of a commit, and behind it what librdkafka does not cut off, which may be no text at all."""
    try:
        return place.metadata or ""
    except UnicodeDecodeError as error:
        return error.object.decode(errors="replace")


def _driver_position(position: Position) -> TopicPartition:
    where = (position.topic, position.partition, position.offset)
    return TopicPartition(*where, metadata=position.metadata) if position.metadata else TopicPartition(*where)


class ConfluentAdmin:
    def __init__(self, options: _kafka.Options) -> None:
        self._servers = str(options["bootstrap.servers"])
        self._client = AdminClient(options)

    def partitions(self, topic: str, *, timeout: float = _ANSWER_S) -> int | None:
        found = self._described(topic, timeout=timeout)
        return None if found is None else len(found.partitions)

    def _described(self, topic: str, *, timeout: float) -> Any:
        """None when there is no such topic."""
        # Not list_topics(topic): where brokers create topics by themselves, that question would create it.
        future = self._client.describe_topics(TopicCollection([topic]), request_timeout=timeout)[topic]
        try:
            return future.result()
        except KafkaException as error:
            if error.args[0].code() in _ABSENT:
                return None
            raise KafkaUnavailable(self._servers, error.args[0].str()) from error

    def create(self, topic: str, *, partitions: int, config: Mapping[str, str] | None = None) -> bool:
        safe = len(self._listing().brokers) >= 3
        settings = {"min.insync.replicas": "2"} | dict(config or {}) if safe else dict(config or {})
        wanted = NewTopic(topic, num_partitions=partitions, replication_factor=3 if safe else 1, config=settings)
        try:
            self._client.create_topics([wanted], operation_timeout=_ANSWER_S)[topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise KirbyError(f"The topic {topic!r} could not be created: {error.args[0].str()}") from error
            made = False
        else:
            made = True
        self._wait_until_known(topic)
        return made

    def _wait_until_known(self, topic: str) -> None:
        """The controller has it; the broker that we ask may hear of it a moment later."""
        ends = time.monotonic() + _ANSWER_S
        while self.partitions(topic) is None and time.monotonic() < ends:
            time.sleep(0.02)

    def delete(self, topic: str) -> None:
        try:
            self._client.delete_topics([topic], operation_timeout=_ANSWER_S)[topic].result()
        except KafkaException as error:
            if error.args[0].code() not in _ABSENT:
                raise KafkaUnavailable(self._servers, error.args[0].str()) from error

    def config(self, topic: str) -> Mapping[str, str]:
        asked = ConfigResource(ConfigResource.Type.TOPIC, topic)
        try:
            found = self._client.describe_configs([asked], request_timeout=_ANSWER_S)[asked].result()
        except KafkaException as error:
            if error.args[0].code() in _ABSENT:
                return {}
            raise KafkaUnavailable(self._servers, error.args[0].str()) from error
        return {name: str(entry.value) for name, entry in found.items()}

    def names(self, *, prefix: str = "") -> list[str]:
        return sorted(name for name in self._listing().topics if name.startswith(prefix))

    def identity(self, topic: str) -> str:
        found = self._described(topic, timeout=_ANSWER_S)
        return "" if found is None else str(found.topic_id)

    def appended(self, topic: str, partitions: Sequence[int]) -> Mapping[int, int]:
        latest: Any = OffsetSpec
        asked = {TopicPartition(topic, number): latest.latest() for number in partitions}
        ends = time.monotonic() + _ANSWER_S
        while True:
            try:
                found = self._client.list_offsets(
                    asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_ANSWER_S
                )
                return {place.partition: future.result().offset for place, future in found.items()}
            except KafkaException as error:
                # The partitions of a topic just made have no leader at first.
                if error.args[0].code() not in _LEADERLESS or time.monotonic() >= ends:
                    raise KafkaUnavailable(self._servers, error.args[0].str()) from error
                time.sleep(0.1)

    def cluster_id(self) -> str:
        return str(self._listing().cluster_id)

    def _listing(self) -> Any:
        try:
            return self._client.list_topics(timeout=_ANSWER_S)
        except KafkaException as error:
            raise KafkaUnavailable(self._servers, error.args[0].str()) from error
