"""Moves a consumer group: who is in it, what it has committed, where in its topics a time lies. For rewinds."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import ClassVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupIdNotFound,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

from kirby_common.kafka import aiokafka_options
from kirby_common.ports import Bounds, BusUnavailable, Commit, GroupInUse, GroupLook, GroupMember, Place
from kirby_common.settings import KafkaSettings

_IN_USE = (UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError)
_NON_EMPTY = 68
"""The code of a group that has members, for which aiokafka has no class."""
_PEEK_MS = 200
_PEEKS = 10


class KafkaGroups:
    """Groups of one cluster; each question connects anew, for they are rare."""

    def __init__(self, settings: KafkaSettings, *, timeout_s: float = 10.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s

    async def look(self, names: Sequence[str]) -> Mapping[str, GroupLook]:
        """Each group's commits and members; empty ones for a group that there is not. Raises `BusUnavailable`."""
        async with self._asking() as admin:
            return {name: await _patiently(admin, name) for name in names}

    async def cluster(self) -> str:
        """Which cluster this is. Raises `BusUnavailable`."""
        async with self._asking() as admin:
            return str((await admin.describe_cluster())["cluster_id"])

    async def remove(self, group: str, names: Sequence[str]) -> None:
        """Have static members leave, by their names: who was killed would stay for as long as its session lasts.

        One that is alive hears of it with its next heartbeat, and its commits are refused from here on.
        """
        if not names:
            return
        async with self._asking() as admin:
            coordinator = await admin.find_coordinator(group)
            await admin._send_request(_LeaveGroup(group, names), coordinator)

    async def commit(self, group: str, commits: Mapping[Place, Commit]) -> None:
        """Commit for a group that has no members. Raises `GroupInUse` when it has some, `BusUnavailable`."""
        by_topic: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for (topic, number), place in commits.items():
            by_topic[topic].append((number, place.offset, place.metadata))
        async with self._asking() as admin:
            coordinator = await admin.find_coordinator(group)
            request = OffsetCommitRequest(group, -1, "", -1, list(by_topic.items()))
            answer = await admin._send_request(request, coordinator)
        for topic, partitions in answer.topics:
            for number, code in partitions:
                error = for_code(code)
                if issubclass(error, _IN_USE):
                    raise GroupInUse(group)
                if code:
                    raise BusUnavailable(f"Kafka refuses the commit of {topic}:{number} for {group}: {error.__name__}")

    async def forget(self, group: str, is_ours: Callable[[str], bool]) -> None:
        """Delete the group, and the topics of whose names that is true; what is not there is no error.

        Raises `GroupInUse` when the group has members, `BusUnavailable`.
        """
        async with self._asking() as admin:
            topics = [name for name in await admin.list_topics() if is_ours(name)]
            coordinator = await admin.find_coordinator(group)
            answer = await admin._send_request(DeleteGroupsRequest([group]), coordinator)
            for _, code in answer.results:
                if code == _NON_EMPTY:
                    raise GroupInUse(group)
                if code not in (0, GroupIdNotFound.errno):
                    raise BusUnavailable(f"Kafka does not delete the group {group}: {for_code(code).__name__}")
            if topics:
                deleted = await admin.delete_topics(topics)
                for topic, code, *_ in deleted.topic_error_codes:
                    if code not in (0, UnknownTopicOrPartitionError.errno):
                        raise BusUnavailable(f"Kafka does not delete the topic {topic}: {for_code(code).__name__}")

    async def bounds(
        self, places: Iterable[Place], *, start: datetime, end: datetime | None = None
    ) -> Mapping[Place, Bounds]:
        """What is there of each partition, and where in it the times lie. Raises `BusUnavailable`."""
        wanted = [TopicPartition(*place) for place in places]
        async with self._reading() as reader:
            low, high = await reader.beginning_offsets(wanted), await reader.end_offsets(wanted)
            firsts = await reader.offsets_for_times(dict.fromkeys(wanted, _ms(start)))
            oldest = await reader.offsets_for_times(dict.fromkeys(wanted, 0))
            ends = {} if end is None else await reader.offsets_for_times(dict.fromkeys(wanted, _ms(end)))
        found: dict[Place, Bounds] = {}
        for where in wanted:
            first, eldest, until = firsts[where], oldest[where], ends.get(where)
            found[where.topic, where.partition] = Bounds(
                low=low[where],
                high=high[where],
                first=None if first is None else first.offset,
                oldest_at=None if eldest is None else datetime.fromtimestamp(eldest.timestamp / 1000, UTC),
                until=high[where] if until is None else until.offset,
            )
        return found

    async def passed(self, places: Mapping[Place, tuple[int, int]]) -> set[Place]:
        """Those of the places between whose two offsets a reader gets nothing: what is left are transactions' marks.

        Raises `BusUnavailable`.
        """
        async with self._reading() as reader:
            return {place for place, stretch in places.items() if await _is_passed(reader, place, *stretch)}

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[AIOKafkaAdminClient]:
        # Not librdkafka's: asked of a group whose coordinator is not there yet, it ends the process (2.16.0).
        admin = AIOKafkaAdminClient(**self._options)
        async with self._translated():
            try:
                await admin.start()
                yield admin
            finally:
                await admin.close()

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AIOKafkaConsumer]:
        reader = AIOKafkaConsumer(
            isolation_level="read_committed", enable_auto_commit=False, auto_offset_reset="earliest", **self._options
        )
        async with self._translated():
            try:
                await reader.start()
                yield reader
            finally:
                await reader.stop()

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except (KafkaError, OSError, TimeoutError) as error:
            where = self._settings.kafka_bootstrap_servers
            raise BusUnavailable(f"Kafka at {where}: {error or type(error).__name__}") from error

    @property
    def _options(self) -> dict[str, object]:
        return aiokafka_options(self._settings) | {"request_timeout_ms": round(self._timeout_s * 1000)}


async def _is_passed(reader: AIOKafkaConsumer, place: Place, position: int, to: int) -> bool:
    where = TopicPartition(*place)
    reader.assign([where])
    reader.seek(where, position)
    for _ in range(_PEEKS):
        got = await reader.getmany(where, timeout_ms=_PEEK_MS, max_records=1)
        if records := got.get(where):
            return bool(records[0].offset >= to)
        if await reader.position(where) >= to:
            return True
    return False


async def _patiently(admin: AIOKafkaAdminClient, group: str) -> GroupLook:
    """A fresh broker makes the coordinator when it is first asked for one; the caller's time limit ends the waiting."""
    while True:
        try:
            return await _look(admin, group)
        except KafkaError as error:
            if not error.retriable:
                raise
        await asyncio.sleep(_PEEK_MS / 1000)


async def _look(admin: AIOKafkaAdminClient, group: str) -> GroupLook:
    try:
        coordinator = await admin.find_coordinator(group)
        listed = await admin.list_consumer_group_offsets(group, group_coordinator_id=coordinator)
        (described,) = await admin.describe_consumer_groups([group], group_coordinator_id=coordinator)
    except GroupIdNotFound:
        return GroupLook({}, ())
    commits = {(p.topic, p.partition): Commit(at.offset, at.metadata) for p, at in listed.items() if at.offset >= 0}
    members = [
        GroupMember(id=member[0], client=member[1], host=member[2].lstrip("/"))
        for _, _, _, _, _, members, *_ in described.groups
        for member in members
    ]
    return GroupLook(commits, tuple(members))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


class _LeaveGroupResponse(Response):  # type: ignore[misc]
    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")), ("error_code", Int16)),
        ),
    )


class _LeaveGroupV3(RequestStruct):  # type: ignore[misc]
    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = _LeaveGroupResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class _LeaveGroup(Request[_LeaveGroupV3]):  # type: ignore[misc]
    """The version that names static members; aiokafka has only earlier ones."""

    API_KEY: ClassVar[int] = 13

    def __init__(self, group: str, names: Sequence[str]) -> None:
        self._group = group
        self._names = names

    def build(self, request_struct_class: type[_LeaveGroupV3]) -> _LeaveGroupV3:
        return request_struct_class(self._group, [("", name) for name in self._names])
