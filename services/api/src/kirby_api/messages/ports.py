"""What those who look at messages ask of Kafka."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Protocol

from kirby_common.ports import Record

from kirby_api.logs.ports import Bounds

Partition = tuple[str, int]
"""A topic's name and the number of one of its partitions."""


class Messages(Protocol):
    """Reads committed records of any topic, beside all groups. Every method raises `BusUnavailable`."""

    async def topics(self) -> Mapping[str, int]:
        """The topics that there are, each with the number of its partitions."""
        ...

    async def bounds(self, topics: Sequence[str]) -> Mapping[Partition, Bounds]:
        """What each partition of these topics holds; nothing for a topic that is not there."""
        ...

    async def offsets_at(self, partitions: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """Per partition the first offset at or after a time, in milliseconds since 1970; left out where none is."""
        ...

    def read(self, spans: Mapping[Partition, Bounds]) -> AsyncGenerator[Sequence[Record]]:
        """The records of the spans, batch by batch, in order within a partition; what is not kept is left out.

        Ends when all spans are read. Whoever has enough closes the iterator.
        """
        ...

    def find(
        self, spans: Mapping[Partition, Bounds], header: Callable[[bytes], bool]
    ) -> AsyncGenerator[tuple[int, Sequence[Record]]]:
        """As `read`, only records with a `kirby` header of which `header` says so; and how many were looked at."""
        ...

    def follow(self, offsets: Mapping[Partition, int]) -> AsyncGenerator[Sequence[Record]]:
        """The records from these offsets on, as they come, for ever; an empty batch when none came for a while."""
        ...


class Groups(Protocol):
    """Who reads a topic."""

    async def readers(self, topic: str) -> Mapping[str, Mapping[int, int]]:
        """The consumer groups that have committed in the topic, with the next offset per partition.

        Raises `BusUnavailable`.
        """
        ...
