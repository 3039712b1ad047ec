"""Timers: what a processor does later for a key, by the time of events or by the clock on the wall."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Protocol

from kirby.message import Onward

Clock = Literal["event", "wall"]


class Timers(Protocol):
    """The timers of one key: given to the handlers of `Topic.process_timed`. They are kept over restarts."""

    def set(self, at: datetime, *, name: str = "", data: Any = None, clock: Clock = "event") -> None:
        """Have `on_timer` called once `at` (aware) is reached; replaces the key's timer of that `name`.

        `clock`: `event` is the time of the messages of the key's partition, which stands still where none come;
        `wall` is real time. `data` is anything JSON can hold. Raises `BadValue`, or KirbyError for a naive `at`.
        """

    def cancel(self, name: str = "") -> bool:
        """Forget the key's timer of that name; False when there is none."""


class Timer(Onward):
    """A timer that is due. What is sent while it is in hand is made from the message that set it, in a new trace."""

    __slots__ = ("at", "clock", "data", "key", "name", "raw_key")

    def __init__(
        self,
        name: str,
        *,
        raw_key: bytes | None,
        at: datetime,
        data: Any,
        clock: Clock,
        topic: str,
        ranges: Mapping[tuple[str, int], tuple[int, int]],
        rerun: bool,
        origin: str = "",
    ) -> None:
        super().__init__(topic, ranges, rerun=rerun, origin=origin)
        self.name: str = name
        self.raw_key: bytes | None = raw_key
        self.key: str | None = None if raw_key is None else raw_key.decode(errors="replace")
        self.at: datetime = at
        self.data: Any = data
        self.clock: Clock = clock

    def __repr__(self) -> str:
        return f"Timer({self.name!r}, key={self.key!r}, at={self.at.isoformat()}, data={self.data!r})"
