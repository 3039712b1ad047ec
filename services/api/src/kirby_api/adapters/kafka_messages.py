"""Messages of any topic by aiokafka: a few consumers without a group, each used by one reader at a time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from kirby.lineage import HEADER
from kirby_common.kafka import aiokafka_options
from kirby_common.ports import BusUnavailable, Record
from kirby_common.settings import KafkaSettings

from kirby_api.logs.ports import Bounds
from kirby_api.messages.ports import Partition

_KEEP_IDLE = 4
_POLL_MS = 200
_STALLED_S = 15.0
_MOST_RECORDS = 2000


class KafkaMessages:
    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._idle: list[AIOKafkaConsumer] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_stop(consumer) for consumer in idle), *self._closing, return_exceptions=True)

    async def topics(self) -> Mapping[str, int]:
        async with self._consumer() as consumer:
            # Its public calls tell either the names of all topics, or the partitions of those that it reads.
            cluster = await consumer._client.fetch_all_metadata()
            counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in cluster.topics()}
            return {topic: count for topic, count in counts.items() if count}

    async def bounds(self, topics: Sequence[str]) -> Mapping[Partition, Bounds]:
        async with self._consumer() as consumer:
            cluster = await consumer._client.fetch_all_metadata()
            partitions = [TopicPartition(t, n) for t in topics for n in cluster.partitions_for_topic(t) or ()]
            if not partitions:
                return {}
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            return {(p.topic, p.partition): Bounds(begins[p], ends[p]) for p in partitions}

    async def offsets_at(self, partitions: Mapping[Partition, int]) -> Mapping[Partition, int]:
        if not partitions:
            return {}
        async with self._consumer() as consumer:
            found = await consumer.offsets_for_times({TopicPartition(*p): ms for p, ms in partitions.items()})
            return {(p.topic, p.partition): at.offset for p, at in found.items() if at is not None}

    async def read(self, spans: Mapping[Partition, Bounds]) -> AsyncGenerator[Sequence[Record]]:
        async with aclosing(self._raw(spans)) as batches:
            async for batch in batches:
                yield [_record(r) for r in batch]

    async def find(
        self, spans: Mapping[Partition, Bounds], header: Callable[[bytes], bool]
    ) -> AsyncGenerator[tuple[int, Sequence[Record]]]:
        async with aclosing(self._raw(spans)) as batches:
            async for batch in batches:
                # Only what is found is made a record of: most of the time would go into the others.
                found = [r for r in batch for name, value in r.headers if name == HEADER and header(value)]
                yield len(batch), [_record(r) for r in found]

    async def _raw(self, spans: Mapping[Partition, Bounds]) -> AsyncGenerator[Sequence[ConsumerRecord]]:
        left = {TopicPartition(*p): span.end for p, span in spans.items() if span.begin < span.end}
        if not left:
            return
        async with self._consumer() as consumer:
            begins = await consumer.beginning_offsets(list(left))
            _seek(consumer, {p: max(begins[p], spans[p.topic, p.partition].begin) for p in left})
            loop = asyncio.get_running_loop()
            moved_at, before = loop.time(), dict[TopicPartition, int]()
            while left:
                got = await consumer.getmany(*left, timeout_ms=_POLL_MS, max_records=_MOST_RECORDS)
                for where, batch in got.items():
                    if batch[-1].offset >= left[where]:
                        batch = [r for r in batch if r.offset < left[where]]
                    if batch:
                        yield batch
                # A position counts the marks of transactions, too, which no record tells of.
                now = {p: await consumer.position(p) for p in left}
                left = {p: end for p, end in left.items() if now[p] < end}
                if now != before:
                    moved_at, before = loop.time(), now
                elif loop.time() - moved_at > _STALLED_S:
                    raise BusUnavailable(f"nothing comes from {', '.join(sorted({p.topic for p in left}))}")

    async def follow(self, offsets: Mapping[Partition, int]) -> AsyncGenerator[Sequence[Record]]:
        async with self._consumer() as consumer:
            _seek(consumer, {TopicPartition(*p): offset for p, offset in offsets.items()})
            while True:
                got = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MOST_RECORDS)
                for batch in got.values():
                    yield [_record(r) for r in batch]
                if not got:
                    yield ()

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer of one's own; one that was used to the end is kept for the next reader."""
        consumer = self._idle.pop() if self._idle else await self._started()
        try:
            yield consumer
        except (KafkaError, OSError) as error:
            self._close(consumer)
            raise BusUnavailable(f"Kafka at {self._settings.kafka_bootstrap_servers}: {error or error!r}") from error
        except GeneratorExit:
            # The reader has enough, and no call of the consumer is under way.
            self._keep(consumer)
            raise
        except BaseException:
            self._close(consumer)
            raise
        self._keep(consumer)

    async def _started(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
            max_partition_fetch_bytes=1_048_576,
            request_timeout_ms=10_000,
            **aiokafka_options(self._settings),
        )
        try:
            async with asyncio.timeout(10):
                await consumer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            self._close(consumer)
            raise BusUnavailable(f"Kafka at {self._settings.kafka_bootstrap_servers}: {error or error!r}") from error
        except BaseException:
            self._close(consumer)
            raise
        return consumer

    def _keep(self, consumer: AIOKafkaConsumer) -> None:
        if len(self._idle) < _KEEP_IDLE:
            consumer.unsubscribe()
            self._idle.append(consumer)
        else:
            self._close(consumer)

    def _close(self, consumer: AIOKafkaConsumer) -> None:
        """Closes it beside the caller, who may be being cancelled."""
        task = asyncio.create_task(_stop(consumer), name="messages-close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _seek(consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
    consumer.assign(list(offsets))
    for where, offset in offsets.items():
        consumer.seek(where, offset)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(5):
            await consumer.stop()
    except (KafkaError, OSError, TimeoutError):
        return


def _record(r: object) -> Record:
    return Record(r.topic, r.partition, r.offset, r.key, r.value, r.timestamp, dict(r.headers or ()))  # type: ignore[attr-defined]
