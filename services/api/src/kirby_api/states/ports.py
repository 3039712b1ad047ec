"""What the recorder of States asks of Kafka."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kirby_common.ports import Record


@dataclass(frozen=True)
class Stretch:
    """Committed records of one partition, in order, and where it goes on: markers of transactions take offsets too."""

    topic: str
    partition: int
    records: Sequence[Record]
    next_offset: int


@dataclass(frozen=True)
class FoundLog:
    """A State's log. `owned`: there is a topic of commands beside it."""

    partitions: int
    owned: bool


class StateLogs(Protocol):
    """The logs of all States of the cluster."""

    async def found(self) -> Mapping[str, FoundLog]:
        """The logs that there are. Raises `BusUnavailable`."""
        ...

    def read(self, offsets: Mapping[tuple[str, int], int]) -> AsyncIterator[Stretch | None]:
        """Reads these partitions from these offsets, for ever; None when nothing came for a while.

        Raises `BusUnavailable`; then, or when the partitions are to be others, read anew.
        """
        ...


class LatestTopics(Protocol):
    """The compacted topics that readers of States start from."""

    async def make(self, topic: str, *, partitions: int) -> bool:
        """True when the topic was not there and was made. Raises `BusUnavailable`."""
        ...

    async def write(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Writes all of them or none, unless another recorder has begun to write since. Raises `BusUnavailable`."""
        ...
