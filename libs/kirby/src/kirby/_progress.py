"""How far the work on a partition is, when messages are done out of order. Pure."""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Progress:
    """The offsets of one partition that were taken, in their order, and those of them that are done.

    `position` is what may be committed: the first offset that is not done, so that no crash loses a message.

    >>> progress = Progress()
    >>> for offset in (7, 8, 9):
    ...     progress.taken(offset)
    >>> progress.done(8)
    >>> progress.position is None
    True
    >>> progress.done(7)
    >>> progress.position
    9
    """

    __slots__ = ("_done", "_open", "_reached")

    def __init__(self) -> None:
        self._open: deque[int] = deque()
        self._done: set[int] = set()
        self._reached: int | None = None

    def taken(self, offset: int) -> None:
        """A message was handed out. Offsets rise, with gaps where the topic has some."""
        self._open.append(offset)

    def done(self, offset: int) -> None:
        """One of the taken messages is done; doing it twice changes nothing."""
        self._done.add(offset)
        while self._open and self._open[0] in self._done:
            self._reached = self._open.popleft()
            self._done.discard(self._reached)

    @property
    def position(self) -> int | None:
        """The offset to commit; None while nothing at the front is done."""
        return None if self._reached is None else self._open[0] if self._open else self._reached + 1

    @property
    def outstanding(self) -> int:
        """How many taken messages the position waits for, or has still to pass."""
        return len(self._open)


class Lanes(Generic[T]):
    """Messages of one lane one after the other, others side by side. A lane is a key in a partition.

    >>> lanes = Lanes()
    >>> lanes.enter("Seattle", 1), lanes.enter("Seattle", 2), lanes.enter("Oslo", 3)
    (True, False, True)
    >>> lanes.leave("Seattle"), lanes.leave("Seattle")
    (2, None)
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[T]] = {}

    def enter(self, lane: Hashable, item: T) -> bool:
        """Whether the item may start at once; else it waits in its lane. None as the lane is a lane of its own."""
        if lane is None:
            return True
        queue = self._waiting.get(lane)
        if queue is None:
            self._waiting[lane] = deque()
            return True
        queue.append(item)
        return False

    def leave(self, lane: Hashable) -> T | None:
        """The lane's item is done: the one that may start now, if any."""
        queue = self._waiting.get(lane)
        if queue:
            return queue.popleft()
        self._waiting.pop(lane, None)
        return None

    def drop(self, is_dropped: Callable[[T], bool]) -> int:
        """Forget those waiting items; gives how many there were."""
        dropped = 0
        for queue in self._waiting.values():
            kept = [item for item in queue if not is_dropped(item)]
            dropped += len(queue) - len(kept)
            queue.clear()
            queue.extend(kept)
        return dropped
