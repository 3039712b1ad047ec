"""The ports that more than one service has. Adapters and fakes pass one contract suite (tests/contract)."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from kirby_common.topics import TopicSpec


@dataclass(frozen=True)
class Record:
    """A stored message. `timestamp_ms` is the broker's or the producer's, as the topic is set."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """Where a produced message lies."""

    partition: int
    offset: int


class BusUnavailable(ConnectionError):
    """The broker can't be reached now; trying again may help."""


class Bus(Protocol):
    """Produces messages. Partitioned by murmur2 of the key, as every client of Kirby's topics does."""

    async def send(
        self, topic: str, *, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> Stored:
        """Returns once the brokers have it. Raises `BusUnavailable`."""
        ...


class Tail(Protocol):
    """Reads all partitions of some topics without a consumer group."""

    def records(self, topics: Sequence[str], *, start: "Start") -> AsyncIterator[Sequence[Record]]:
        """Batches as they come, for ever; waits through an absent broker. Order holds within a partition."""
        ...


@dataclass(frozen=True)
class Start:
    """Where to begin: at the end, at the beginning, or at given offsets (else the beginning)."""

    at: str = "end"
    offsets: Mapping[tuple[str, int], int] = field(default_factory=dict)


class TopicAdmin(Protocol):
    async def ensure(self, topics: Sequence[TopicSpec]) -> int:
        """Creates what is missing with its settings, and says how many; existing topics keep their partitions."""
        ...


@dataclass(frozen=True)
class GroupPosition:
    """How far a consumer group has read: the next offset per `topic:partition`, and how many messages wait in all."""

    offsets: Mapping[str, int]
    lag: int


class Offsets(Protocol):
    """What Kafka knows of reading and writing, for those who watch."""

    async def group(self, name: str) -> GroupPosition | None:
        """None for a group that nobody has read in. Raises `BusUnavailable`."""
        ...

    async def newest(self, topics: Sequence[str]) -> Mapping[str, datetime | None]:
        """When the newest message of each topic that is there was written; None for an empty topic.

        Raises `BusUnavailable`.
        """
        ...


Place = tuple[str, int]
"""A topic's partition."""


class GroupInUse(RuntimeError):
    """The group has members: it can't be moved by others."""

    def __init__(self, group: str) -> None:
        super().__init__(f"the group {group} has members")
        self.group = group


@dataclass(frozen=True)
class Commit:
    """The next offset of a partition, and what is remembered with it."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True)
class GroupMember:
    """`id` begins with the member's own name when it has one (a static member), else with its client's."""

    id: str
    client: str
    host: str


@dataclass(frozen=True)
class GroupLook:
    """A group's commits and who is in it."""

    commits: Mapping[Place, Commit]
    members: Sequence[GroupMember]


@dataclass(frozen=True)
class Bounds:
    """A partition's offsets: [low, high) are there, `first` is that of the first record at or after the range's begin
    (None: there is none), `until` that of the first at or after its end. `oldest_at` is when the oldest was written.
    """

    low: int
    high: int
    first: int | None
    oldest_at: datetime | None
    until: int


class Groups(Protocol):
    """Looks at consumer groups and moves those that have no members. All raise `BusUnavailable`."""

    async def look(self, names: Sequence[str]) -> Mapping[str, GroupLook]:
        """Each group's commits and members; empty ones for a group that there is not."""
        ...

    async def cluster(self) -> str:
        """Which cluster this is: two addresses of one cluster give the same."""
        ...

    async def remove(self, group: str, names: Sequence[str]) -> None:
        """Have static members leave, by their names. Whether they were there is not told."""
        ...

    async def commit(self, group: str, commits: Mapping[Place, Commit]) -> None:
        """Raises `GroupInUse` when the group has members."""
        ...

    async def forget(self, group: str, is_ours: Callable[[str], bool]) -> None:
        """Delete the group, and the topics of whose names that is true. No error when they are not there."""
        ...

    async def bounds(
        self, places: Iterable[Place], *, start: datetime, end: datetime | None = None
    ) -> Mapping[Place, Bounds]:
        """What is there of each partition, and where in it the times lie."""
        ...

    async def passed(self, places: Mapping[Place, tuple[int, int]]) -> set[Place]:
        """Those of the places between whose two offsets there is nothing that a reader gets."""
        ...


class Lock(Protocol):
    """Says who should *try* to lead. Never a proof of anything."""

    async def acquire(self, *, holder: str, ttl_ms: int) -> bool:
        """Takes the lock if it is free or ours; True when held. Raises ConnectionError."""
        ...

    async def release(self, *, holder: str) -> None:
        """Lets go if ours."""
        ...
