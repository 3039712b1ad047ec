"""How far consumer groups have read, and how old the newest message of a topic is, asked of Kafka."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AioPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import GroupIdNotFound, KafkaError
from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from kirby_common.kafka import aiokafka_options, confluent_options
from kirby_common.ports import BusUnavailable, GroupPosition
from kirby_common.settings import KafkaSettings

_ABSENT = {"UNKNOWN_TOPIC_OR_PART"}
C = TypeVar("C", AIOKafkaAdminClient, AIOKafkaConsumer)
_PEEK_S = 2.0
_NEWEST: OffsetSpec = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]


class KafkaOffsets:
    """Asks one cluster; connects when first asked."""

    def __init__(self, settings: KafkaSettings, *, timeout_s: float = 10.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._admin: AdminClient | None = None
        self._empty: dict[tuple[str, int], tuple[int, int]] = {}

    async def group(self, name: str) -> GroupPosition | None:
        """Where the group stands, over all partitions that it has committed or that its members hold; None for
        a group that has neither. Raises `BusUnavailable`.
        """
        try:
            async with asyncio.timeout(self._timeout_s), _closing(self._new_admin()) as admin:
                committed = await _committed(admin, name)
                if not committed:
                    return None
                async with _closing(AIOKafkaConsumer(**self._options)) as reader:
                    ends = await reader.end_offsets(list(committed))
                    starts = await reader.beginning_offsets(list(committed))
        except (KafkaError, OSError, TimeoutError) as error:
            raise self._unavailable(error) from error
        # What was never committed, or is gone already, is read from the beginning.
        at = {_key(p): max(offset, starts[p]) for p, offset in committed.items()}
        last = {_key(p): end for p, end in ends.items()}
        behind = {key: last[key] - offset for key, offset in at.items() if last[key] > offset}
        lag = sum(behind.values())
        if behind and all(left <= 2 for left in behind.values()) and await self._only_markers(at, last, behind):
            lag = 0
        return GroupPosition({f"{topic}:{number}": offset for (topic, number), offset in at.items()}, lag)

    async def readers(self, topic: str) -> Mapping[str, Mapping[int, int]]:
        """The groups that have committed in the topic, with the next offset per partition. Raises `BusUnavailable`."""
        found: dict[str, Mapping[int, int]] = {}
        try:
            async with asyncio.timeout(self._timeout_s), _closing(self._new_admin()) as admin:
                for name, kind in await admin.list_consumer_groups():
                    if kind not in ("consumer", ""):
                        continue
                    committed = await admin.list_consumer_group_offsets(name)
                    mine = {p.partition: at.offset for p, at in committed.items() if p.topic == topic}
                    if mine:
                        found[name] = mine
        except (KafkaError, OSError, TimeoutError) as error:
            raise self._unavailable(error) from error
        return found

    async def newest(self, topics: Sequence[str]) -> Mapping[str, datetime | None]:
        """Per topic that is there the time of its newest message, None for an empty one. Raises `BusUnavailable`."""
        described = self._client().describe_topics(TopicCollection(list(topics)), request_timeout=self._timeout_s)
        there = [t for t in await self._all(described[name] for name in topics) if t is not None]
        partitions = [(t.name, p.id) for t in there for p in t.partitions]
        wanted = {TopicPartition(topic, number): _NEWEST for topic, number in partitions}
        answers = self._client().list_offsets(wanted, request_timeout=self._timeout_s) if wanted else {}
        latest: dict[str, float] = {t.name: -1.0 for t in there}
        for key, answer in zip(answers, await self._all(answers.values()), strict=True):
            if answer is not None:
                latest[key.topic] = max(latest[key.topic], answer.timestamp)
        return {topic: None if ms < 0 else datetime.fromtimestamp(ms / 1000, UTC) for topic, ms in latest.items()}

    async def _only_markers(
        self, at: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int], behind: Iterable[tuple[str, int]]
    ) -> bool:
        """Whether what lies between commit and end is nothing that a reader gets: the marks that transactions leave.

        Looked at once per position.
        """
        unknown = [key for key in behind if self._empty.get(key) != (at[key], ends[key])]
        if unknown:
            if await asyncio.to_thread(self._has_messages, {key: at[key] for key in unknown}):
                return False
            self._empty |= {key: (at[key], ends[key]) for key in unknown}
        return True

    def _has_messages(self, at: Mapping[tuple[str, int], int]) -> bool:
        options = {"group.id": "kirby-peek", "enable.auto.commit": False, "enable.partition.eof": False}
        reader = Consumer(confluent_options(self._settings) | options | {"isolation.level": "read_committed"})
        try:
            reader.assign([TopicPartition(topic, number, offset) for (topic, number), offset in at.items()])
            message = reader.poll(_PEEK_S)
            return message is not None and message.error() is None
        finally:
            reader.close()

    async def _all(self, futures: Iterable["Future[Any]"]) -> list[Any]:
        """The answers; None for what is not there. Raises `BusUnavailable`."""
        return [await self._answer(each) for each in list(futures)]

    async def _answer(self, future: "Future[Any]") -> Any:
        try:
            return await asyncio.wrap_future(future)
        except KafkaException as error:
            if error.args[0].name() in _ABSENT:
                return None
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> BusUnavailable:
        return BusUnavailable(f"Kafka at {self._settings.kafka_bootstrap_servers}: {error or type(error).__name__}")

    @property
    def _options(self) -> dict[str, object]:
        return aiokafka_options(self._settings) | {"request_timeout_ms": round(self._timeout_s * 1000)}

    def _new_admin(self) -> AIOKafkaAdminClient:
        # Not librdkafka's: asked of a group whose coordinator is not there yet, it ends the process (2.16.0).
        return AIOKafkaAdminClient(**self._options)

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(confluent_options(self._settings) | {"socket.timeout.ms": 10_000})
        return self._admin


async def _committed(admin: AIOKafkaAdminClient, group: str) -> dict[AioPartition, int]:
    """The next offset per partition of the group; -1 for what a member holds and nobody has committed."""
    try:
        coordinator = await admin.find_coordinator(group)
        listed = await admin.list_consumer_group_offsets(group, group_coordinator_id=coordinator)
        (described,) = await admin.describe_consumer_groups([group], group_coordinator_id=coordinator)
    except GroupIdNotFound:
        return {}
    committed = {partition: found.offset for partition, found in listed.items()}
    for _, _, _, _, _, members, *_ in described.groups:
        for member in members:
            held = ConsumerProtocolMemberAssignment.decode(member[4]).partitions() if member[4] else []
            committed |= {partition: -1 for partition in held if partition not in committed}
    return committed


@asynccontextmanager
async def _closing(client: C) -> AsyncIterator[C]:
    try:
        await client.start()
        yield client
    finally:
        closing = client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop()
        await closing


def _key(partition: AioPartition) -> tuple[str, int]:
    return partition.topic, partition.partition
