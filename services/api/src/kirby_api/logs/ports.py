"""What the log readers need of Kafka."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from kirby_common.ports import Record


@dataclass(frozen=True)
class Bounds:
    """The offsets that a partition holds: [begin, end)."""

    begin: int
    end: int


class LogStore(Protocol):
    """Reads stored stretches of a topic. Every method raises `BusUnavailable` when the broker is away."""

    async def bounds(self, topic: str) -> dict[int, Bounds]:
        """The bounds of every partition; empty while the topic does not exist."""
        ...

    async def offset_at(self, topic: str, partition: int, at: datetime) -> int:
        """The first offset written at or after the time; the end when there is none."""
        ...

    def read(self, topic: str, partition: int, *, start: int, end: int) -> AsyncGenerator[Sequence[Record]]:
        """The records in [start, end), in order; what is no longer kept is left out."""
        ...
