"""Kafka behind the ports of the recorder of States."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from kirby.state.records import LATEST_CONFIG, LOG_CONFIG, commands_topic, name_of
from kirby.state.rule import RULE
from kirby_common.kafka import KafkaTopicAdmin, aiokafka_options
from kirby_common.ports import BusUnavailable, Record
from kirby_common.settings import KafkaSettings
from kirby_common.topics import TopicSpec

from kirby_api.states.ports import FoundLog, Stretch

_POLL_MS = 200
_WRITERS = ("api", "scripts")
_READERS = ("api", "scripts")
_MOST_RECORDS = 1000


def log_spec(topic: str, *, partitions: int) -> TopicSpec:
    """The topic of a State's log."""
    return TopicSpec(topic, "the State's key", (RULE,), _WRITERS, _READERS, partitions, extra=LOG_CONFIG)


def latest_spec(topic: str, *, partitions: int) -> TopicSpec:
    """The compacted topic beside it."""
    return TopicSpec(topic, "the State's key", (RULE,), ("api",), _READERS, partitions, "compact", extra=LATEST_CONFIG)


class KafkaStateLogs:
    """Reads committed records. `prefix`: only logs whose topics begin so."""

    def __init__(self, settings: KafkaSettings, *, prefix: str = "") -> None:
        self._settings = settings
        self._prefix = prefix
        self._consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drop()

    async def found(self) -> Mapping[str, FoundLog]:
        try:
            consumer = await self._connected()
            # Its public calls tell either the names of all topics, or the partitions of those that it reads.
            cluster = await consumer._client.fetch_all_metadata()
            topics = cluster.topics()
            found = {
                topic: FoundLog(len(cluster.partitions_for_topic(topic) or ()), _commands_of(*named) in topics)
                for topic in topics
                if topic.startswith(self._prefix) and (named := name_of(topic))
            }
            # One that is being made has a name before it has partitions.
            return {topic: log for topic, log in found.items() if log.partitions}
        except (KafkaError, OSError, TimeoutError) as error:
            raise await self._absent(error) from error

    async def read(self, offsets: Mapping[tuple[str, int], int]) -> AsyncIterator[Stretch | None]:
        try:
            consumer = await self._connected()
            reached = {TopicPartition(*place): offset for place, offset in offsets.items()}
            consumer.assign(list(reached))
            for where, offset in reached.items():
                consumer.seek(where, offset)
            while True:
                if not offsets:
                    await asyncio.sleep(_POLL_MS / 1000)
                    yield None
                    continue
                got = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MOST_RECORDS)
                for where, batch in got.items():
                    records = [_record(r) for r in batch]
                    reached[where] = records[-1].offset + 1
                    yield Stretch(where.topic, where.partition, records, reached[where])
                if got:
                    continue
                for where, offset in reached.items():
                    if (position := await consumer.position(where)) > offset:
                        # What is left are markers of transactions.
                        reached[where] = position
                        yield Stretch(where.topic, where.partition, (), position)
                yield None
        except (KafkaError, OSError, TimeoutError) as error:
            raise await self._absent(error) from error

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=_POLL_MS,
                max_partition_fetch_bytes=4_194_304,
                request_timeout_ms=15_000,
                **aiokafka_options(self._settings),
            )
            try:
                async with asyncio.timeout(15):
                    await consumer.start()
            except BaseException:
                await _stop(consumer)
                raise
            self._consumer = consumer
        return self._consumer

    async def _absent(self, error: BaseException) -> BusUnavailable:
        await self._drop()
        return BusUnavailable(f"Kafka at {self._settings.kafka_bootstrap_servers}: {error or type(error).__name__}")

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await _stop(consumer)


class KafkaLatestTopics:
    """Writes in transactions of one id, so that whoever begins later shuts the earlier one out."""

    def __init__(self, settings: KafkaSettings, *, transactional_id: str = "kirby-states-recorder") -> None:
        self._settings = settings
        self._transactional_id = transactional_id
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drop()

    async def make(self, topic: str, *, partitions: int) -> bool:
        return await KafkaTopicAdmin(self._settings).ensure([latest_spec(topic, partitions=partitions)]) > 0

    async def write(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> None:
        try:
            producer = await self._connected()
            async with asyncio.timeout(60), producer.transaction():
                sent = [await producer.send(topic, v, key=k, partition=partition) for k, v in records]
                await asyncio.gather(*sent)
        except (KafkaError, OSError, TimeoutError) as error:
            await self._drop()
            raise BusUnavailable(f"{topic}: {error or type(error).__name__}") from error

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                transactional_id=self._transactional_id,
                linger_ms=1,
                max_request_size=4_194_304,
                request_timeout_ms=15_000,
                **aiokafka_options(self._settings),
            )
            try:
                async with asyncio.timeout(30):
                    await producer.start()
            except BaseException:
                await _stop(producer)
                raise
            self._producer = producer
        return self._producer

    async def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)


def _commands_of(prefix: str, name: str) -> str:
    return commands_topic(name, prefix=prefix)


async def _stop(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(5):
            await client.stop()
    except (KafkaError, OSError, TimeoutError):
        return


def _record(r: object) -> Record:
    return Record(r.topic, r.partition, r.offset, r.key, r.value, r.timestamp)  # type: ignore[attr-defined]
