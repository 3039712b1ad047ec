"""Stored stretches of topics by aiokafka: a few consumers without a group, each used by one reader at a time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from kirby_common.kafka import aiokafka_options
from kirby_common.ports import BusUnavailable, Record
from kirby_common.settings import KafkaSettings

from kirby_api.logs.ports import Bounds

_KEEP_IDLE = 4
_STALLED_S = 10.0


class KafkaLogStore:
    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._idle: dict[str, list[AIOKafkaConsumer]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        idle = [consumer for some in self._idle.values() for consumer in some]
        self._idle = {}
        await asyncio.gather(*(_stop(consumer) for consumer in idle), *self._closing, return_exceptions=True)

    async def bounds(self, topic: str) -> dict[int, Bounds]:
        async with self._consumer(topic) as consumer:
            partitions = await _partitions(consumer, topic)
            if not partitions:
                return {}
            begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            return {p.partition: Bounds(begins[p], ends[p]) for p in partitions}

    async def offset_at(self, topic: str, partition: int, at: datetime) -> int:
        async with self._consumer(topic) as consumer:
            where = TopicPartition(topic, partition)
            found = (await consumer.offsets_for_times({where: round(at.timestamp() * 1000)}))[where]
            if found is not None:
                return int(found.offset)
            return int((await consumer.end_offsets([where]))[where])

    async def read(self, topic: str, partition: int, *, start: int, end: int) -> AsyncGenerator[Sequence[Record]]:
        where = TopicPartition(topic, partition)
        async with self._consumer(topic) as consumer:
            start = max(start, (await consumer.beginning_offsets([where]))[where])
            if start >= end:
                return
            consumer.assign([where])
            consumer.seek(where, start)
            waited = 0.0
            while start < end:
                batch = (await consumer.getmany(where, timeout_ms=200, max_records=2000)).get(where, [])
                if not batch:
                    waited += 0.2
                    if waited > _STALLED_S:
                        raise BusUnavailable(f"{topic}[{partition}]: nothing at offset {start}")
                    continue
                waited = 0.0
                start = batch[-1].offset + 1
                yield [_record(r) for r in batch if r.offset < end]

    @asynccontextmanager
    async def _consumer(self, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer of one's own; one that was used to the end is kept for the topic's next reader."""
        idle = self._idle.setdefault(topic, [])
        consumer = idle.pop() if idle else await self._started()
        try:
            yield consumer
        except (KafkaError, OSError) as error:
            self._close(consumer)
            raise BusUnavailable(f"Kafka: {error or type(error).__name__}") from error
        except GeneratorExit:
            # The reader has enough, and no call of the consumer is under way.
            self._keep(topic, consumer)
            raise
        except BaseException:
            self._close(consumer)
            raise
        self._keep(topic, consumer)

    async def _started(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=4_194_304,
            request_timeout_ms=10_000,
            check_crcs=False,
            **aiokafka_options(self._settings),
        )
        try:
            async with asyncio.timeout(10):
                await consumer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            self._close(consumer)
            raise BusUnavailable(f"Kafka at {self._settings.kafka_bootstrap_servers}: {error}") from error
        except BaseException:
            self._close(consumer)
            raise
        return consumer

    def _keep(self, topic: str, consumer: AIOKafkaConsumer) -> None:
        idle = self._idle.setdefault(topic, [])
        if len(idle) < _KEEP_IDLE and consumer.partitions_for_topic(topic):
            consumer.unsubscribe()
            idle.append(consumer)
        else:
            self._close(consumer)

    def _close(self, consumer: AIOKafkaConsumer) -> None:
        """Closes it beside the caller, who may be being cancelled."""
        task = asyncio.create_task(_stop(consumer), name="log-store-close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    if not consumer.partitions_for_topic(topic):
        # A consumer starts without knowing any topic, and has no public call that learns their partitions.
        await consumer._client.force_metadata_update()
    return [TopicPartition(topic, n) for n in sorted(consumer.partitions_for_topic(topic) or ())]


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(5):
            await consumer.stop()
    except (KafkaError, OSError, TimeoutError):
        return


def _record(r: object) -> Record:
    return Record(r.topic, r.partition, r.offset, r.key, r.value, r.timestamp, dict(r.headers or ()))  # type: ignore[attr-defined]
