"""A consumer group as Kirby's services read: decode, handle, dead-letter what can't be read, commit.

At least once: offsets are committed after `handle` returned, so `handle` must bear repetition. A message that
can't be read, or that `handle` fails on by itself again and again, goes to the dead-letter topic and the
consumer goes on; a store that is away only makes it wait.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalGenerationError, KafkaError, RebalanceInProgressError

from kirby_common.kafka import aiokafka_options
from kirby_common.messages import BadMessage, MessageRefused, MessageRefusedV1, encode
from kirby_common.ports import Bus, Record
from kirby_common.runtime import unless_stopped
from kirby_common.settings import KafkaSettings
from kirby_common.topics import DEAD_LETTERS

log = structlog.get_logger()

T = TypeVar("T")

KEPT_BYTES = 64 * 1024
"""So much of a refused message is kept: a dead letter must itself fit its topic."""


@dataclass(frozen=True)
class Received(Generic[T]):
    record: Record
    message: T


@dataclass(frozen=True)
class Batch(Generic[T]):
    """Messages in order of each partition, and where each partition goes on, refused messages included."""

    received: Sequence[Received[T]]
    positions: Mapping[tuple[str, int], int]


Handle = Callable[[Batch[T]], Awaitable[None]]


class DeadLetters:
    """Writes refused messages, with their origin and the reason, to the dead-letter topic."""

    def __init__(self, bus: Bus, *, service: str) -> None:
        self._bus = bus
        self._service = service

    async def refuse(self, record: Record, *, reason: str) -> None:
        """Returns once the brokers have it. Raises `BusUnavailable`."""
        value = record.value or b""
        log.warning(
            "message.refused", topic=record.topic, partition=record.partition, offset=record.offset, reason=reason
        )
        refused = MessageRefused(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            consumer=self._service,
            reason=reason[:2000],
            value_base64=base64.b64encode(value[:KEPT_BYTES]).decode(),
            size=len(value),
        )
        message = MessageRefusedV1(source=self._service, subject=record.topic, data=refused)
        await self._bus.send(DEAD_LETTERS, key=record.topic.encode(), value=encode(message))


class Processor(Generic[T]):
    """What happens to a batch, without Kafka: decode, handle, refuse, retry."""

    def __init__(
        self,
        *,
        decode: Callable[[Record], T],
        handle: Handle[T],
        dead_letters: DeadLetters,
        is_transient: Callable[[BaseException], bool] = lambda _: False,
        tries: int = 3,
        longest_pause_s: float = 10.0,
    ) -> None:
        self._decode = decode
        self._handle = handle
        self._dead_letters = dead_letters
        self._is_transient = is_transient
        self._tries = tries
        self._longest_pause_s = longest_pause_s

    async def process(self, records: Sequence[Record], *, stop: asyncio.Event) -> bool:
        """True when every record is handled or refused; False when `stop` was set before that."""
        good: list[Received[T]] = []
        for record in records:
            try:
                good.append(Received(record, self._decode(record)))
            except BadMessage as error:
                if not await self._refuse(record, str(error), stop=stop):
                    return False
        batch = Batch(good, positions_after(records))
        try:
            return await self._until_store(lambda: self._handle(batch), stop=stop)
        except Exception as error:
            log.warning(
                "consumer.batch_failed", messages=len(good), error=f"{type(error).__name__}: {_first_line(error)}"
            )
            return await self._one_by_one(batch, stop=stop)

    async def _one_by_one(self, batch: Batch[T], *, stop: asyncio.Event) -> bool:
        """Finds the message at fault, so that the others of its batch are handled."""
        for received in batch.received:
            if not await self._handle_or_refuse(received, stop=stop):
                return False
        return await self._until_store(lambda: self._handle(Batch((), batch.positions)), stop=stop)

    async def _handle_or_refuse(self, received: Received[T], *, stop: asyncio.Event) -> bool:
        single = Batch((received,), positions_after((received.record,)))
        reason = ""
        for attempt in range(self._tries):
            try:
                return await self._until_store(lambda: self._handle(single), stop=stop)
            except BadMessage as error:
                reason = str(error)
                break
            except Exception as error:
                reason = f"could not be handled: {type(error).__name__}: {_first_line(error)}"
                log.exception("consumer.message_failed", attempt=attempt + 1, topic=received.record.topic)
        return await self._refuse(received.record, reason, stop=stop)

    async def _refuse(self, record: Record, reason: str, *, stop: asyncio.Event) -> bool:
        return await self._until_store(lambda: self._dead_letters.refuse(record, reason=reason), stop=stop)

    async def _until_store(self, act: Callable[[], Awaitable[None]], *, stop: asyncio.Event) -> bool:
        """Acts, again and again while a store is away; False when `stop` was set meanwhile."""
        pause = 0.2
        while True:
            try:
                await act()
                return True
            except Exception as error:
                if not (isinstance(error, ConnectionError | TimeoutError) or self._is_transient(error)):
                    raise
                log.warning("consumer.waiting", reason=_first_line(error) or type(error).__name__)
            if await stopped_within(pause, stop=stop):
                return False
            pause = min(pause * 2, self._longest_pause_s)


class GroupConsumer(Generic[T]):
    """Reads topics as a member of a group; outlives an absent broker and rebalances."""

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        group: str,
        topics: Sequence[str],
        processor: Processor[T],
        poll_ms: int = 500,
        max_records: int = 500,
        session_timeout_ms: int = 45_000,
    ) -> None:
        self._settings = settings
        self._group = group
        self._topics = tuple(topics)
        self._processor = processor
        self._poll_ms = poll_ms
        self._max_records = max_records
        self._session_timeout_ms = session_timeout_ms
        self._problem: str | None = "not connected to Kafka yet"

    async def problem(self) -> str | None:
        """For `/readyz`: why nothing can be read now."""
        return self._problem

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; what was handled by then is committed."""
        while not stop.is_set():
            consumer = AIOKafkaConsumer(
                *self._topics,
                group_id=self._group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=self._session_timeout_ms,
                heartbeat_interval_ms=min(3000, self._session_timeout_ms // 3),
                rebalance_timeout_ms=60_000,
                request_timeout_ms=70_000,
                fetch_max_wait_ms=self._poll_ms,
                metadata_max_age_ms=30_000,
                **aiokafka_options(self._settings),
            )
            try:
                async with asyncio.timeout(30):
                    if not await unless_stopped(stop, consumer.start()):
                        return
                self._problem = None
                log.info("consumer.started", group=self._group, topics=list(self._topics))
                await self._read(consumer, stop)
            except (KafkaError, OSError, TimeoutError) as error:
                problem = f"Kafka at {self._settings.kafka_bootstrap_servers} can't be reached"
                if self._problem != problem:
                    log.warning("consumer.kafka_waiting", group=self._group, reason=str(error) or type(error).__name__)
                self._problem = problem
                await stopped_within(1.0, stop=stop)
            finally:
                await _close(consumer)

    async def _read(self, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        while not stop.is_set():
            got = await consumer.getmany(timeout_ms=self._poll_ms, max_records=self._max_records)
            records = [_record(r) for batch in got.values() for r in batch]
            if not records:
                continue
            if await self._processor.process(records, stop=stop):
                await self._commit(consumer, positions_after(records))

    async def _commit(self, consumer: AIOKafkaConsumer, positions: Mapping[tuple[str, int], int]) -> None:
        try:
            await consumer.commit({TopicPartition(*where): offset for where, offset in positions.items()})
        except (CommitFailedError, IllegalGenerationError, RebalanceInProgressError) as error:
            # The partitions are another member's now: it reads these messages again.
            log.info("consumer.commit_lost", group=self._group, reason=type(error).__name__)


def positions_after(records: Sequence[Record]) -> dict[tuple[str, int], int]:
    """The next offset of each partition in the records."""
    return {(r.topic, r.partition): r.offset + 1 for r in records}


async def stopped_within(seconds: float, *, stop: asyncio.Event) -> bool:
    """Waits so long, or until `stop` is set; says whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0]


def _record(r: ConsumerRecord) -> Record:
    return Record(r.topic, r.partition, r.offset, r.key, r.value, r.timestamp, dict(r.headers or ()))


async def _close(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(5):
            await consumer.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        log.debug("consumer.close_failed", error=str(error))
