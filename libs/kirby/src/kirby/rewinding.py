"""What a commit says of a rewind: `rewind:<id>:<to>:<back>:<rate>;` as its metadata. Pure.

The scheduler writes it when it moves a group back; the SDK reads it when a partition comes, and repeats it in each of
its own commits below `to`, so that a crash in the middle of a rewind changes nothing. The semicolon ends it because
librdkafka (2.16) hands metadata out with whatever lies behind it in memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_SCHEME: Final = "rewind"
_END: Final = ";"


@dataclass(frozen=True, slots=True)
class Mark:
    """A partition is read again up to `to`, and goes on live at `back`, which is `to` or later.

    `rate`: so many messages a second at most, 0 for as many as there come.
    """

    rewind: str
    to: int
    back: int
    rate: float = 0.0

    def text(self) -> str:
        """The metadata.

        >>> Mark("8f1c", to=40, back=60).text()
        'rewind:8f1c:40:60:0;'
        """
        return f"{_SCHEME}:{self.rewind}:{self.to}:{self.back}:{self.rate:g}{_END}"

    def covers(self, offset: int) -> bool:
        """Whether the record there is read again.

        >>> mark = Mark("8f1c", to=40, back=60)
        >>> mark.covers(39), mark.covers(40)
        (True, False)
        """
        return offset < self.to

    def passes(self, offset: int) -> bool:
        """Whether the record there is neither read again nor live: it was done before the rewind, and is left out."""
        return self.to <= offset < self.back

    def commit(self, offset: int) -> tuple[int, str]:
        """What to commit in place of `offset`, and with which metadata.

        >>> mark = Mark("8f1c", to=40, back=60)
        >>> mark.commit(39), mark.commit(40), mark.commit(61)
        ((39, 'rewind:8f1c:40:60:0;'), (60, ''), (61, ''))
        """
        return (offset, self.text()) if offset < self.to else (max(offset, self.back), "")


def mark_of(metadata: str) -> Mark | None:
    """The mark that a commit's metadata holds; None for metadata of another kind.

    >>> mark_of("rewind:8f1c:40:60:2.5;what lay behind it")
    Mark(rewind='8f1c', to=40, back=60, rate=2.5)
    >>> mark_of("") is None, mark_of("rewind:8f1c:soon;") is None
    (True, True)
    """
    told, end, _ = metadata.partition(_END)
    parts = told.split(":")
    if not end or len(parts) != 5 or parts[0] != _SCHEME:
        return None
    try:
        mark = Mark(parts[1], int(parts[2]), int(parts[3]), float(parts[4]))
    except ValueError:
        return None
    return mark if 0 <= mark.to <= mark.back and 0 <= mark.rate < float("inf") else None


class Pace:
    """No more than `rate` messages a second, reckoned from the first; what was missed is not caught up in a burst.

    >>> pace = Pace(10.0)
    >>> pace.left(5.0)
    0.0
    >>> pace.handed(2, 5.0)
    >>> round(pace.left(5.05), 2)
    0.15
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._due = float("-inf")

    def left(self, now: float) -> float:
        """How many seconds until another one may go."""
        return max(0.0, self._due - now)

    def handed(self, count: int, now: float) -> None:
        """So many were handed out."""
        self._due = max(self._due, now) + count / self.rate

    def together(self, limit: int) -> int:
        """How many of `limit` may go at once: a tenth of a second's worth."""
        return max(1, min(limit, int(self.rate / 10)))


def pace_of(marks: Iterable[Mark]) -> Pace | None:
    """The pace of one reader of all these partitions; None where none is limited."""
    rate = sum(mark.rate for mark in marks)
    return Pace(rate) if rate > 0 else None
