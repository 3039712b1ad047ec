"""What is copied, from where and to where."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from kirby.errors import KirbyError


class ReplayRefused(KirbyError):
    """The replay would do harm, or can't be done; nothing was copied. The text says what to do."""


class Site(NamedTuple):
    """Where topics lie: two environments with the same cluster and prefix are one place."""

    cluster: str
    prefix: str


class Copied(NamedTuple):
    """A record, as bytes."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    at_ms: int


@dataclass(frozen=True)
class Extent:
    """What is to be copied of a topic: offsets [begin, end) per partition, frozen. `name` is without prefix.

    `expired`: of the time that was asked for, older messages have been deleted by the topic's retention.
    """

    name: str
    site: Site
    spans: Mapping[int, tuple[int, int]]
    expired: bool = False


class Source(Protocol):
    """Reads a topic beside all groups; nothing is written there."""

    def extent(self, name: str, *, since: datetime | None, until: datetime | None) -> Extent:
        """From the first record at or after `since` until before the first at or after `until`.

        Raises ReplayRefused, KafkaUnavailable, or the command's own errors when the api does not answer.
        """

    def read(self, extent: Extent, partition: int, begin: int) -> Iterator[tuple[Sequence[Copied], int]]:
        """From `begin` to the partition's end: records, and the offset at which to go on after them."""

    def close(self) -> None:
        """Nothing may be called afterwards."""


class Target(Protocol):
    """Takes records, and knows how far it has got, whoever is killed in between."""

    def begin(self, extent: Extent) -> Mapping[int, int]:
        """Get ready for a topic: per partition the offset that comes next, where some were copied before.

        Raises ReplayRefused.
        """

    def put(self, extent: Extent, partition: int, records: Sequence[Copied], following: int) -> None:
        """Take these and remember `following`, both or neither."""

    def close(self) -> None:
        """Nothing may be called afterwards."""
