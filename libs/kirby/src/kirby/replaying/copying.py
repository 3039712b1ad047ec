"""The copy itself: what is left of each partition, from where the target says that it was."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kirby.replaying.ports import Copied, Extent, ReplayRefused, Source, Target
from kirby.rewinding import Pace

Piece = tuple[Sequence[Copied], int]
"""Records, and the offset at which to go on after them."""


@dataclass(frozen=True)
class Tally:
    """How far a replay is, in offsets: marks of transactions are among them. `before`: copied by an earlier replay.

    `expired`: what was copied is what the source's retention has left of that time.
    """

    topic: str
    total: int
    before: int
    passed: int
    copied: int
    expired: bool = False


def replay(
    source: Source, target: Target, names: Sequence[str], *, since: datetime | None, until: datetime | None,
    rate: float | None, told: Callable[[Tally], None],
) -> list[Tally]:  # fmt: skip
    """Copy the topics one after the other; `told` hears how far it is. Raises ReplayRefused, KafkaUnavailable."""
    extents = [source.extent(name, since=since, until=until) for name in names]
    empty = [extent for extent in extents if not _size(extent)]
    if empty:
        raise ReplayRefused("; ".join(_nothing(extent) for extent in empty))
    pace = None if rate is None else Pace(rate)
    return [_topic(source, target, extent, pace=pace, told=told) for extent in extents]


def _topic(
    source: Source, target: Target, extent: Extent, *, pace: Pace | None, told: Callable[[Tally], None]
) -> Tally:
    reached = target.begin(extent)
    froms = {n: min(max(begin, reached.get(n, begin)), end) for n, (begin, end) in extent.spans.items()}
    before = sum(froms[n] - begin for n, (begin, _) in extent.spans.items())
    tally = Tally(extent.name, _size(extent), before, before, 0, extent.expired)
    told(tally)
    for number, (_, end) in sorted(extent.spans.items()):
        at = froms[number]
        if at >= end:
            continue
        for records, following in _paced(source.read(extent, number, at), pace):
            target.put(extent, number, records, following)
            tally = replace(tally, passed=tally.passed + following - at, copied=tally.copied + len(records))
            at = following
            told(tally)
    return tally


def _paced(pieces: Iterable[Piece], pace: Pace | None) -> Iterator[Piece]:
    """In pieces of a tenth of a second's worth, each when its turn has come; all at once without a pace."""
    if pace is None:
        yield from pieces
        return
    for records, following in pieces:
        step = pace.together(len(records) or 1)
        for first in range(0, len(records) or 1, step):
            some = records[first : first + step]
            time.sleep(pace.left(time.monotonic()))
            pace.handed(len(some), time.monotonic())
            last = first + step >= len(records)
            yield some, following if last else some[-1].offset + 1


def _nothing(extent: Extent) -> str:
    if extent.expired:
        return f"{extent.name} keeps nothing of that time any more: it has been deleted by the topic's retention"
    return f"{extent.name} has no message of that time: there is nothing to copy"


def _size(extent: Extent) -> int:
    return sum(max(end - begin, 0) for begin, end in extent.spans.values())
