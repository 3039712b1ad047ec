"""`Topic`, with msgpack for values and for header values.

Times without a zone are UTC. A topic that is absent is created, for brokers no longer do that by themselves.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

import kirby
from kirby import _retry
from kirby._serializers import CONTENT_TYPE, needed
from kirby.api.context import ctx

RETRIES: int = _retry.from_environment().tries
WAIT_BETWEEN_RETRIES: float = _retry.from_environment().wait
_MOST_RECORDS = 500


class TopicConfig(NamedTuple):
    """How a live topic is reached. `use_tls` takes effect where `KAFKA_SSL_CAFILE` is set."""

    name: str | None
    group_id: str | None
    use_tls: bool
    raw_records: bool


class TopicTestModeConfig(NamedTuple):
    """A topic in memory: `messages` are (time, record)."""

    name: str
    cursor_position: int
    raw_records: bool
    messages: "list[tuple[datetime, ConsumerRecord]]"


class ConsumerRecord(NamedTuple):
    """A record as `raw_records=True` gives it; `timestamp` in milliseconds (in testing mode: the datetime)."""

    topic: str
    partition: int
    offset: int
    timestamp: Any
    timestamp_type: int
    key: bytes | None
    value: Any
    headers: Any
    checksum: int | None = None
    serialized_key_size: int | None = None
    serialized_value_size: int | None = None
    serialized_header_size: int | None = None


def kirby_value_serializer(value: Any) -> bytes:
    """msgpack.

    >>> kirby_value_deserializer(kirby_value_serializer({"celsius": 11.4}))
    {'celsius': 11.4}
    """
    return bytes(_msgpack().packb(value))


def kirby_value_deserializer(data: bytes) -> Any:
    """msgpack, with texts as str."""
    return _msgpack().unpackb(data, raw=False)


def parse_records(records_by_partition: Mapping[Any, list[Any]] | None, raw_records: bool = False) -> list[Any] | None:
    """The values of what a poll gave, or the records with their headers read."""
    if not records_by_partition:
        return None
    records = [record for some in records_by_partition.values() for record in some]
    if raw_records:
        return [record._replace(headers=_read_headers(dict(record.headers))) for record in records]
    return [record.value for record in records]


def is_in_test_mode(topic_config: TopicConfig | TopicTestModeConfig) -> bool:
    """Whether it is a topic in memory."""
    return isinstance(topic_config, TopicTestModeConfig)


class Consumer:
    """The reading half. Each `next` and `nexts` commits what it gives."""

    def __init__(self, topic_config: Any, init_time: datetime | None = None) -> None:
        self.topic_config: Any = topic_config
        if not is_in_test_mode(topic_config):
            self._topic = _live(topic_config)
            if init_time is not None:
                self._topic.seek_at_timestamp(_aware(init_time))

    def next(self, timeout_ms: float = 500) -> Any:
        """The next value (or record), or None after `timeout_ms` milliseconds."""
        found = self.nexts(timeout_ms=timeout_ms, max_records=1)
        return found[0] if found else None

    def nexts(self, timeout_ms: float = 500, max_records: int | None = None) -> list[Any]:
        """Up to `max_records` values (or records) that are there within `timeout_ms` milliseconds."""
        raw = self.topic_config.raw_records
        if is_in_test_mode(self.topic_config):
            start = self.topic_config.cursor_position
            end = len(self.topic_config.messages) if max_records is None else start + max_records
            self.topic_config = self.topic_config._replace(cursor_position=end)
            return _given([record for _, record in self.topic_config.messages[start:end]], raw=raw)
        timeout = None if timeout_ms == float("inf") else timeout_ms / 1000
        messages = self._topic.nexts(max_records or _MOST_RECORDS, timeout=timeout)
        if messages:
            self._topic.commit()
        return _given([_record(message) for message in messages], raw=raw)

    def seek_at_timestamp(self, datetime_timestamp: datetime) -> None:
        """Read on from the first message at or after that time."""
        self._topic.seek_at_timestamp(_aware(datetime_timestamp))

    def temporary_rollback(self, datetime_timestamp: datetime) -> AbstractContextManager[None]:
        """Read again from that time within the block, then go on where it was."""
        return self._topic.temporary_rollback(_aware(datetime_timestamp))

    def between(self, start: datetime, end: datetime, timeout_ms: float = 1500) -> list[Any]:
        """What was sent from `start` until before `end`; the place of the group does not change."""
        raw = self.topic_config.raw_records
        if is_in_test_mode(self.topic_config):
            return _given([m for at, m in self.topic_config.messages if start <= at < end], raw=raw)
        found = sorted(self._topic.between(_aware(start), _aware(end)), key=lambda m: m._record.timestamp()[1])
        return _given([_record(message) for message in found], raw=raw)

    def close(self) -> None:
        """Leave the group."""
        if not is_in_test_mode(self.topic_config):
            self._topic.close()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        found = self.next(timeout_ms=float("inf"))
        if found is None and is_in_test_mode(self.topic_config):
            raise StopIteration
        return found


class Producer:
    """The sending half. Each `send` waits until the message is delivered."""

    def __init__(self, topic_config: Any) -> None:
        self.topic_config = topic_config
        if not is_in_test_mode(topic_config):
            self._topic = _live(topic_config)

    @staticmethod
    def format_headers(headers: Any) -> list[tuple[str, bytes]]:
        """Header values as msgpack. Raises RuntimeError for what is not a dict."""
        if not isinstance(headers, dict):
            raise RuntimeError(f"The headers are a {type(headers).__name__}: they must be a dictionary")
        return [(name, kirby_value_serializer(value)) for name, value in headers.items()]

    def send(self, message: Any, submitted: datetime | None = None, headers: dict[str, Any] | None = None) -> None:
        """Send one message, dated `submitted` (now)."""
        if not is_in_test_mode(self.topic_config):
            when = None if submitted is None else _aware(submitted)
            self._topic.send(message, headers=dict(self.format_headers(headers or {})), submitted=when)
            self._topic.flush()
            return
        at, number = submitted or datetime.now(UTC).replace(tzinfo=None), len(self.topic_config.messages)
        given = list((headers or {}).items())
        record = ConsumerRecord(self.topic_config.name, 0, number, at, 0, None, message, given)
        self.topic_config.messages.append((at, record))

    def close(self) -> None:
        """Deliver what is left."""
        if not is_in_test_mode(self.topic_config):
            self._topic.close()


class Topic:
    """A topic to send to and to read from; all that a `Consumer` and a `Producer` can do.

    `group_id` is the package's name unless given. Reading begins at `init_time` (now). `raw_records` gives records
    instead of values. `testing` keeps the messages in memory.

    >>> with Topic("readings", testing=True) as readings:
    ...     readings.send({"celsius": 11.4}, headers={"station": "KSEA"})
    ...     readings.next()
    {'celsius': 11.4}
    """

    def __init__(
        self,
        topic_name: str,
        group_id: str | None = None,
        use_tls: bool = True,
        testing: bool = False,
        raw_records: bool = False,
        init_time: datetime | None = None,
    ) -> None:
        self.name = topic_name
        self.testing = testing
        self.init_time: datetime = init_time or datetime.now(UTC)
        self.topic_config: Any
        if testing:
            self.topic_config = TopicTestModeConfig(topic_name, 0, raw_records, [])
        else:
            self.topic_config = TopicConfig(topic_name, group_id or ctx.PACKAGE_NAME, use_tls, raw_records)
        self._reading: Consumer | None = None
        self._sending: Producer | None = None

    def __getattr__(self, item: str) -> Any:
        if not item.startswith("_"):
            if callable(getattr(Consumer, item, None)):
                return getattr(self._consumer(), item)
            if callable(getattr(Producer, item, None)):
                return getattr(self._producer(), item)
        raise AttributeError(f"Neither Topic, Consumer nor Producer has an attribute named {item}")

    def __iter__(self) -> Iterator[Any]:
        return iter(self._consumer())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Deliver what was sent and leave the group."""
        for half in (self._sending, self._reading):
            if half is not None:
                half.close()
        self._reading = self._sending = None

    def _consumer(self) -> Consumer:
        if self._reading is None:
            self._reading = Consumer(self.topic_config, init_time=self.init_time)
        return self._reading

    def _producer(self) -> Producer:
        if self._sending is None:
            self._sending = Producer(self.topic_config)
        return self._sending


def _live(config: TopicConfig) -> "kirby.Topic[Any]":
    assert config.name is not None
    if config.use_tls and os.environ.get("KAFKA_SSL_CAFILE"):
        os.environ.setdefault("KAFKA_USE_SSL", "1")
    as_msgpack = kirby.Serializer("application/msgpack", kirby_value_serializer, kirby_value_deserializer)
    return kirby.Topic(config.name, group=config.group_id, serializer=as_msgpack, create=True, start="latest")


def _given(records: list[ConsumerRecord], *, raw: bool) -> list[Any]:
    return list(records) if raw else [record.value for record in records]


def _record(message: "kirby.Message[Any]") -> ConsumerRecord:
    kind, at_ms = message._record.timestamp()
    headers = {name: value for name, value in message.headers.items() if name != CONTENT_TYPE}
    return ConsumerRecord(
        message.topic, message.partition, message.offset, at_ms, max(0, kind - 1), message.raw_key, message.value,
        _read_headers(headers),
    )  # fmt: skip


def _read_headers(headers: dict[str, Any]) -> dict[str, Any]:
    """Those that are no msgpack stay bytes: others than Kirby may write headers, too."""
    read: dict[str, Any] = {}
    for name, value in headers.items():
        try:
            read[name] = kirby_value_deserializer(value)
        except Exception:
            read[name] = value
    return read


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _msgpack() -> Any:
    return needed("msgpack", extra="msgpack", what="kirby.api")
