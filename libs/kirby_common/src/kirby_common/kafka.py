"""Kafka behind the ports: aiokafka for messages, confluent-kafka for topic administration."""

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, OffsetOutOfRangeError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import ClusterMetadata
from confluent_kafka.cimpl import NewTopic

from kirby_common.ports import BusUnavailable, Record, Start, Stored
from kirby_common.settings import KafkaSettings
from kirby_common.topics import TopicSpec

log = structlog.get_logger()


def aiokafka_options(settings: KafkaSettings) -> dict[str, object]:
    """The options of every aiokafka client."""
    options: dict[str, object] = {"bootstrap_servers": settings.kafka_bootstrap_servers}
    if settings.kafka_use_ssl:
        context = ssl.create_default_context(cafile=settings.kafka_ssl_cafile and str(settings.kafka_ssl_cafile))
        if settings.kafka_ssl_certfile:
            context.load_cert_chain(settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
        options |= {"security_protocol": "SSL", "ssl_context": context}
    return options


def confluent_options(settings: KafkaSettings) -> dict[str, str | int | float | bool]:
    """The options of every librdkafka client."""
    options: dict[str, str | int | float | bool] = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "log_level": 0,
    }
    if settings.kafka_use_ssl:
        options["security.protocol"] = "ssl"
        for name, value in (
            ("ssl.ca.location", settings.kafka_ssl_cafile),
            ("ssl.certificate.location", settings.kafka_ssl_certfile),
            ("ssl.key.location", settings.kafka_ssl_keyfile),
        ):
            if value:
                options[name] = str(value)
    return options


class KafkaBus:
    """An idempotent producer that is rebuilt when it is beyond repair, and connects when first needed."""

    def __init__(self, settings: KafkaSettings, *, max_bytes: int = 2_000_000, timeout_s: float = 30.0) -> None:
        self._settings = settings
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)

    async def send(
        self, topic: str, *, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> Stored:
        producer = await self._connected()
        try:
            async with asyncio.timeout(self._timeout_s):
                future = await producer.send(topic, value=value, key=key, headers=list((headers or {}).items()))
                stored = await asyncio.shield(future)
        except (KafkaError, TimeoutError) as error:
            await self._discard(producer)
            raise BusUnavailable(f"{topic}: {error or type(error).__name__}") from error
        return Stored(partition=stored.partition, offset=stored.offset)

    async def _connected(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    enable_idempotence=True,
                    linger_ms=1,
                    max_request_size=self._max_bytes,
                    request_timeout_ms=10_000,
                    **aiokafka_options(self._settings),
                )
                try:
                    async with asyncio.timeout(10):
                        await producer.start()
                except (KafkaError, OSError, TimeoutError) as error:
                    await _close(producer)
                    raise BusUnavailable(f"Kafka at {self._settings.kafka_bootstrap_servers}: {error}") from error
                except asyncio.CancelledError:
                    # Nobody else knows of it: a sender that is cancelled meanwhile must not leave it open.
                    await _close(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _discard(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
            await _close(producer)


async def _close(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(5):
            await client.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        log.debug("kafka.close_failed", error=str(error))


class KafkaTail:
    """Reads without a group; outlives an absent broker, and starts at the earliest where offsets have expired."""

    def __init__(self, settings: KafkaSettings, *, poll_ms: int = 5000) -> None:
        self._settings = settings
        self._poll_ms = poll_ms

    async def records(self, topics: Sequence[str], *, start: Start) -> AsyncIterator[Sequence[Record]]:
        offsets: dict[tuple[str, int], int] = dict(start.offsets)
        at_end = start.at == "end"
        while True:
            consumer = AIOKafkaConsumer(
                *topics,
                enable_auto_commit=False,
                # A reset of the driver's own that is under way would win over a later seek to the end.
                auto_offset_reset="latest" if at_end and not offsets else "earliest",
                fetch_max_wait_ms=self._poll_ms,
                max_partition_fetch_bytes=4_194_304,
                request_timeout_ms=15_000,
                check_crcs=False,
                **aiokafka_options(self._settings),
            )
            try:
                await consumer.start()
                for partition in sorted(consumer.assignment()):
                    known = offsets.get((partition.topic, partition.partition))
                    if known is not None:
                        consumer.seek(partition, known)
                    elif at_end:
                        offsets[(partition.topic, partition.partition)] = await consumer.position(partition)
                    else:
                        await consumer.seek_to_beginning(partition)
                while True:
                    got = await consumer.getmany(timeout_ms=self._poll_ms)
                    for partition, batch in got.items():
                        offsets[(partition.topic, partition.partition)] = batch[-1].offset + 1
                        yield [
                            Record(
                                r.topic,
                                r.partition,
                                r.offset,
                                r.key,
                                r.value,
                                r.timestamp,
                                dict(r.headers or ()),
                            )
                            for r in batch
                        ]
            except (KafkaConnectionError, KafkaError, OSError) as error:
                log.warning("kafka.tail_waiting", topics=list(topics), reason=str(error) or type(error).__name__)
                if isinstance(error, OffsetOutOfRangeError):
                    offsets.clear()
                await asyncio.sleep(1)
            finally:
                await _close(consumer)


_HEARD_WITHIN_S = 10


class KafkaTopicAdmin:
    """Topic administration; librdkafka's calls block, so they run in a thread."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    async def ensure(self, topics: Sequence[TopicSpec]) -> int:
        given_up = threading.Event()
        try:
            return await asyncio.to_thread(self._ensure, topics, given_up)
        except asyncio.CancelledError:
            given_up.set()
            raise
        except KafkaException as error:
            raise BusUnavailable(f"Kafka at {self._settings.kafka_bootstrap_servers}: {error}") from error

    async def wait_and_ensure(self, topics: Sequence[TopicSpec]) -> None:
        """As `ensure`, but waits for an absent broker and says so once."""
        told = False
        while True:
            try:
                await self.ensure(topics)
                return
            except BusUnavailable as error:
                if not told:
                    log.warning("kafka.waiting", reason=str(error))
                    told = True
                await asyncio.sleep(1)

    def _ensure(self, topics: Sequence[TopicSpec], given_up: threading.Event) -> int:
        client = AdminClient(confluent_options(self._settings) | {"socket.timeout.ms": 5000})
        metadata = _cluster(client, given_up)
        replication = 3 if len(metadata.brokers) >= 3 else 1
        safety = {"min.insync.replicas": "2"} if replication == 3 else {}
        missing = [
            NewTopic(
                t.name,
                num_partitions=t.partitions,
                replication_factor=replication,
                config=t.configs() | safety,
            )
            for t in topics
            if t.name not in metadata.topics
        ]
        made = len(missing)
        if not missing:
            return made
        for created in client.create_topics(missing, operation_timeout=10, request_timeout=15).values():
            try:
                created.result()
            except KafkaException as error:
                if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                    raise
                made -= 1
        _wait_until_told(client, {topic.topic for topic in missing}, given_up)
        return made


def _wait_until_told(client: AdminClient, names: set[str], given_up: threading.Event) -> None:
    """The controller has the topics; a broker that is asked for them may hear of them only a moment later."""
    ends = time.monotonic() + _HEARD_WITHIN_S
    while not names <= _cluster(client, given_up).topics.keys() and time.monotonic() < ends:
        if given_up.wait(0.02):
            break


def _cluster(client: AdminClient, given_up: threading.Event) -> ClusterMetadata:
    """What the cluster has, asked for 5 s in small steps: a service that ends must not wait for its thread."""
    for _ in range(24):
        if given_up.is_set():
            break
        try:
            return client.list_topics(timeout=0.2)
        except KafkaException as error:
            if error.args[0].name() not in ("_TRANSPORT", "_TIMED_OUT"):
                raise
    return client.list_topics(timeout=0.2)
