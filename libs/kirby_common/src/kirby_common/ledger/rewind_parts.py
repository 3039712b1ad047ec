"""Which messages a rewind is about, and how far it is: pure, on offsets that Kafka was asked for.

A part is `[start, to)` of one partition. `start` is frozen when the rewind is asked for, and so is `to` where an end
was given. Where the group stands (`back`) is known once its members have left: no part goes beyond it, for what is
there has not been processed yet and comes by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from kirby_common.ports import Bounds, Commit, Place


class BadRange(ValueError):
    """The range can't be rewound; the text is a sentence for the user, `left` and `oldest_at` what there still is."""

    def __init__(self, sentence: str, *, left: int | None = None, oldest_at: datetime | None = None) -> None:
        super().__init__(sentence)
        self.left = left
        self.oldest_at = oldest_at


@dataclass(frozen=True)
class Part:
    """`to` None: as far as the group had read; `back` None: not known yet."""

    topic: str
    partition: int
    start: int
    to: int | None = None
    back: int | None = None

    @property
    def place(self) -> Place:
        return self.topic, self.partition

    @property
    def key(self) -> str:
        return f"{self.topic}:{self.partition}"

    @property
    def size(self) -> int:
        """How many offsets it has; 0 until its end is known."""
        return 0 if self.to is None else max(self.to - self.start, 0)


def check_times(start: datetime, end: datetime | None, *, now: datetime) -> None:
    """Raises `BadRange`."""
    if start >= now:
        raise BadRange("the range begins in the future; a rewind processes again what was processed already")
    if end is not None and end <= start:
        raise BadRange("the range is empty: it has to begin before it ends")
    if end is not None and end > now:
        raise BadRange("the range ends in the future: leave the end out to rewind up to now")


def plan(
    bounds: Mapping[Place, Bounds], commits: Mapping[Place, Commit], *, start: datetime, end: datetime | None,
    partly: bool, group: str,
) -> list[Part]:  # fmt: skip
    """The parts of partitions where there is something to process again.

    `partly`: what is left will do when the older messages of the range are no longer kept. Raises `BadRange`.
    """
    parts = [
        Part(topic, number, there.first, None if end is None else there.until)
        for (topic, number), there in sorted(bounds.items())
        if there.first is not None and (topic, number) in commits
    ]
    found = settled(parts, commits)
    left = sum(part.size for part in found)
    names = ", ".join(sorted({topic for topic, _ in bounds}))
    gone = [there for there in bounds.values() if _lost_some(there, start)]
    oldest_at = min((there.oldest_at for there in bounds.values() if there.oldest_at is not None), default=None)
    if gone and (not left or not partly):
        raise BadRange(_expired(names, left, oldest_at), left=left, oldest_at=oldest_at)
    if not left:
        raise BadRange(_nothing(names, bounds, oldest_at, group), left=0, oldest_at=oldest_at)
    there = {part.place for part in found}
    return [part for part in parts if part.place in there]


def settled(parts: Iterable[Part], commits: Mapping[Place, Commit]) -> list[Part]:
    """The parts with their ends, now that the group stands still; those with nothing to do again are left out."""
    found = []
    for part in parts:
        if part.place not in commits:
            continue
        back = commits[part.place].offset
        ended = replace(part, to=back if part.to is None else min(part.to, back), back=back)
        if ended.size:
            found.append(ended)
    return found


def ending(part: Part) -> Part:
    """As part of a rewind in shadow: nothing lies behind its end."""
    return replace(part, back=part.to)


def reached(parts: Iterable[Part], commits: Mapping[Place, Commit]) -> dict[str, int]:
    """How far each part is: never before its start, never beyond its end."""
    at = {part.key: commits[part.place].offset if part.place in commits else part.start for part in parts}
    return {part.key: min(max(at[part.key], part.start), part.start + part.size) for part in parts}


def done(parts: Sequence[Part], positions: Mapping[str, int]) -> int:
    """How many offsets have been passed, of those of all parts."""
    return sum(positions.get(part.key, part.start) - part.start for part in parts)


def open_stretches(parts: Iterable[Part], positions: Mapping[str, int]) -> dict[Place, tuple[int, int]]:
    """Per part that is not at its end, where it is and where its end is."""
    at = {part: positions.get(part.key, part.start) for part in parts}
    return {part.place: (here, part.to) for part, here in at.items() if part.to is not None and here < part.to}


def as_rows(parts: Iterable[Part]) -> list[dict[str, Any]]:
    return [asdict(part) for part in parts]


def from_rows(rows: Iterable[Mapping[str, Any]]) -> list[Part]:
    return [Part(**row) for row in rows]


def _lost_some(there: Bounds, start: datetime) -> bool:
    """Whether messages of the range may have been deleted already: the partition does not begin at its beginning, and
    the oldest that is left is of a later time."""
    if there.low == 0 or there.low >= there.high:
        return there.low > 0
    return there.oldest_at is not None and there.oldest_at > start


def _expired(names: str, left: int, oldest_at: datetime | None) -> str:
    if oldest_at is None:
        return f"{names} keeps no message any more: all have been deleted by its retention"
    since = f"{names} keeps what was sent since {oldest_at:%Y-%m-%d %H:%M:%S} UTC; older messages have been deleted"
    if not left:
        return f"{since}, so that nothing of the range is left"
    return f"{since}: {left:,} of the range are left. Begin there, or say that what is left will do (--partly)"


def _nothing(names: str, bounds: Mapping[Place, Bounds], oldest_at: datetime | None, group: str) -> str:
    if oldest_at is None:
        return f"{names} has no messages"
    if all(there.first is None or there.first >= there.until for there in bounds.values()):
        return f"{names} has no message of that time"
    return f"{group} has not processed any message of that time yet, so that there is nothing to process again"
