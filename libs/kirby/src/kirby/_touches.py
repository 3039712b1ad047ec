"""What this process has written and called, summed up for `.kirby.lineage`, so that a message can be followed forward.

A send only appends its `kirby` header to a queue. A moment later a timer sums up what lies in the queues: per process
id and input partition, which are in the headers, to what, how often, of which input offsets, from when to when. Where
these sums say to look, the headers of the messages themselves say what was made from what.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Literal

Kind = Literal["topic", "file", "web", "state"]
Direction = Literal["out", "in"]
Told = dict[str, object]

TELL_AFTER_S: Final = 1.0
MOST: Final = 4000
"""So many sends to a topic are told at once: what is summed up must be read to find one of them."""
_NO_OFFSET = b"\xff" * 8
_What = tuple[Direction, Kind, str]


class Touches:
    """Hands the sums to `tell(process, touched)`. Threads may share it."""

    def __init__(self, tell: Callable[[str, list[Told]], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._since_ms: dict[_What, int] = {}
        self._until_ms: dict[_What, int] = {}
        self._before_ms: dict[_What, int] = {}
        self._made_ms = _now_ms()
        self._timer: threading.Timer | None = None
        self._others: dict[_What, deque[bytes]] = {}
        self.topics: dict[str, deque[bytes]] = {}
        """Per topic the headers of what was sent to it. To append to an empty queue, ask `sending` for it."""

    def sending(self, topic: str) -> deque[bytes]:
        """The topic's queue, whose content will be told soon."""
        with self._lock:
            self._begin(("out", "topic", topic))
            return self.topics.setdefault(topic, deque())

    def note(self, header: bytes, kind: Kind, name: str, *, direction: Direction = "out") -> None:
        """One touch of something that is no topic, by what has the packed `header`."""
        with self._lock:
            what: _What = (direction, kind, name)
            self._begin(what)
            self._others.setdefault(what, deque()).append(header)

    def dated(self, topic: str, at_ms: int) -> None:
        """A message was given this time: it lies there in the topic as those sent at that time do."""
        what: _What = ("out", "topic", topic)
        with self._lock:
            self._since_ms[what] = min(self._since_ms.get(what, _now_ms()), at_ms)
            self._until_ms[what] = max(self._until_ms.get(what, 0), at_ms)

    def tell(self) -> None:
        """Tell what was noted so far, once another thread that does so has done it; nothing when nothing was."""
        with self._telling:
            by_process: dict[bytes, list[Told]] = {}
            count = self._sum_up(by_process)
            for process, touched in by_process.items():
                self._tell(process.hex(), touched)
            with self._lock:
                timer, self._timer = self._timer, None
                if count:
                    # What was appended meanwhile to a queue that had something in it has woken nobody.
                    self._wake()
            if timer is not None:
                timer.cancel()

    def end(self) -> None:
        """Drop what was noted, and tell nothing any more."""
        with self._telling, self._lock:
            timer, self._timer = self._timer, None
            self.topics, self._others = {}, {}
        if timer is not None:
            timer.cancel()

    def _sum_up(self, by_process: dict[bytes, list[Told]]) -> int:
        with self._lock:
            since_ms, self._since_ms = self._since_ms, {}
            before_ms, self._before_ms = self._before_ms, {**self._before_ms, **_of_topics(since_ms)}
            dated_ms, self._until_ms = self._until_ms, {}
            others, self._others = self._others, {}
            topics: dict[_What, deque[bytes]] = {("out", "topic", name): q for name, q in self.topics.items()}
        count = 0
        for what, queue in (topics | others).items():
            hops = [queue.popleft()[-20:] for _ in range(len(queue))]
            if not hops:
                continue
            count += len(hops)
            times = {
                "since_ms": since_ms.get(what, before_ms.get(what, self._made_ms)),
                "until_ms": max(_now_ms(), dated_ms.get(what, 0)),
            }
            for process, told in _sums(hops, what):
                by_process.setdefault(process, []).append({**told, **times})
        return count

    def _begin(self, what: _What) -> None:
        self._since_ms.setdefault(what, _now_ms())
        if self._timer is None:
            self._wake()

    def _wake(self) -> None:
        self._timer = threading.Timer(TELL_AFTER_S, self.tell)
        self._timer.daemon = True
        self._timer.start()


def _sums(hops: list[bytes], what: _What) -> Iterable[tuple[bytes, Told]]:
    """Per process and input partition, which are a packed hop's first 12 bytes."""
    by_source: dict[bytes, list[bytes]] = {}
    for hop in hops:
        by_source.setdefault(hop[:12], []).append(hop)
    for source, some in by_source.items():
        # Big-endian offsets from 0 are in the order of their bytes.
        first, last = min(some)[12:], max(some)[12:]
        none = first == _NO_OFFSET
        yield (
            source[:8],
            {
                "direction": what[0],
                "kind": what[1],
                "name": what[2],
                "partition": int.from_bytes(source[8:], "big", signed=True),
                "from": -1 if none else int.from_bytes(first, "big"),
                "to": -1 if none else int.from_bytes(last, "big") + 1,
                "count": len(some),
            },
        )


def _of_topics(times: dict[_What, int]) -> dict[_What, int]:
    """Files and the like are noted under a lock, so that none is ever late; and their names have no end."""
    return {what: ms for what, ms in times.items() if what[1] == "topic"}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
