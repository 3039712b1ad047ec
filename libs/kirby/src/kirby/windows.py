"""Windows of event time: how messages are grouped, and what a group is when it is closed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

from kirby.errors import KirbyError
from kirby.message import Onward

T = TypeVar("T")


class Spans(Protocol):
    """How time is cut into windows: `Tumbling`, `Hopping`, or one of your own. Milliseconds since 1970."""

    @property
    def size_ms(self) -> int:
        """How long a window is."""

    @property
    def grace_ms(self) -> int:
        """How long after a window's end messages are still taken into it, in event time."""

    def starts(self, at_ms: int) -> list[int]:
        """Where the windows begin that an event at that time belongs to, oldest first."""


@dataclass(frozen=True, slots=True)
class Hopping:
    """Windows of `size`, one begins every `hop`: where they overlap, an event belongs to several.

    They are counted from 1970-01-01 00:00 UTC. `grace`: how long after its end a window still takes messages.

    >>> [start.minute for start in Hopping(timedelta(minutes=10), hop=timedelta(minutes=5)).around(
    ...     datetime(2026, 1, 1, 12, 7, tzinfo=UTC))]
    [0, 5]
    """

    size: timedelta
    hop: timedelta
    grace: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if _milliseconds(self.size) < 1 or not 1 <= _milliseconds(self.hop) <= _milliseconds(self.size):
            raise KirbyError("a window needs a size of a millisecond or more, and a hop of no more than its size")
        if self.grace < timedelta(0):
            raise KirbyError("grace is how long windows wait for late messages: no less than nothing")

    @property
    def size_ms(self) -> int:
        return _milliseconds(self.size)

    @property
    def grace_ms(self) -> int:
        return _milliseconds(self.grace)

    def starts(self, at_ms: int) -> list[int]:
        """Where the windows begin that an event at that time belongs to, oldest first; milliseconds since 1970."""
        hop_ms = _milliseconds(self.hop)
        newest = at_ms - at_ms % hop_ms
        return list(range(newest, at_ms - self.size_ms, -hop_ms))[::-1]

    def around(self, moment: datetime) -> list[datetime]:
        """Where the windows begin that an event at `moment` (aware) belongs to."""
        return [at(start) for start in self.starts(round(moment.timestamp() * 1000))]


class Tumbling(Hopping):
    """Windows of `size`, one after the other: each event belongs to one. They are counted from 1970 in UTC.

    >>> Tumbling(timedelta(hours=1)).around(datetime(2026, 1, 1, 12, 7, tzinfo=UTC))
    [datetime.datetime(2026, 1, 1, 12, 0, tzinfo=datetime.timezone.utc)]
    """

    __slots__ = ()

    def __init__(self, size: timedelta, *, grace: timedelta = timedelta(0)) -> None:
        Hopping.__init__(self, size, hop=size, grace=grace)


class TooLate(KirbyError):
    """A message whose windows are all closed; the reason in its dead letter."""

    def __init__(self, moment: datetime, reached: datetime) -> None:
        super().__init__(
            f"it is of {moment.isoformat()}, and the windows of that time are closed: events of "
            f"{reached.isoformat()} were seen; a longer grace= would have waited"
        )


class Window(Onward, Generic[T]):
    """A closed window of one key: what `Topic.windows` gives.

    What is sent while it is in hand is made from all its messages: a new trace, whose inputs are told.
    """

    __slots__ = ("count", "end", "key", "raw_key", "start", "value")

    def __init__(
        self,
        value: T,
        *,
        raw_key: bytes | None,
        start_ms: int,
        end_ms: int,
        count: int,
        topic: str,
        ranges: Mapping[tuple[str, int], tuple[int, int]],
        rerun: bool,
        origin: str = "",
    ) -> None:
        super().__init__(topic, ranges, rerun=rerun, origin=origin)
        self.value: T = value
        self.raw_key: bytes | None = raw_key
        self.key: str | None = None if raw_key is None else raw_key.decode(errors="replace")
        self.start: datetime = at(start_ms)
        self.end: datetime = at(end_ms)
        self.count: int = count

    def __repr__(self) -> str:
        return f"Window({self.value!r}, key={self.key!r}, start={self.start.isoformat()}, count={self.count})"


def at(at_ms: int) -> datetime:
    """Milliseconds since 1970 as an aware datetime in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


# Asked several times for each message, of the same few spans; dividing takes longer than looking up.
@lru_cache(maxsize=64)
def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def event_ms(value: Any) -> int:
    """An event's time as a script tells it: an aware datetime. Raises KirbyError for anything else."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise KirbyError(f"an event's time must be an aware datetime, not {value!r}: see at=")
    return round(value.timestamp() * 1000)
