"""Who this process is in the lineage of messages: an id per topic it reads, announced once on `.kirby.lineage`."""

import atexit
import itertools
import os
import secrets
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import orjson

from kirby import _outbox, lineage, transport
from kirby._hand import in_hand
from kirby._touches import Direction, Kind, Told, Touches
from kirby.errors import KafkaUnavailable
from kirby.rewinding import Mark
from kirby.shadowing import names
from kirby.transport import Record

LINEAGE_TOPIC = ".kirby.lineage"
_ANSWER_S = 5.0


class Process:
    """This process. Trace ids are eight random bytes of it and a counter."""

    def __init__(self) -> None:
        self.rerun = os.environ.get("KIRBY_RERUN", "") == "1"
        self.flags = lineage.RERUN if self.rerun else 0
        self._in_shadow = names.current() is not None
        self._seed = secrets.token_bytes(8)
        self._counter = itertools.count()
        self._ids: dict[str, bytes] = {}
        self._unannounced: set[str] = set()
        self._told: bool | None = None
        self._lock = threading.Lock()
        self._touches = Touches(self._tell_touched)
        self.sent = self._touches.topics
        self.dated = self._touches.dated
        self.tell_touches = self._touches.tell
        self.end_touches = self._touches.end

    def trace(self) -> bytes:
        """A new trace's id."""
        return self._seed + next(self._counter).to_bytes(8, "big")

    def id_for(self, topic: str) -> bytes:
        """The process id for what is made from `topic` ("" for what is made from nothing), announced when new."""
        known = self._ids.get(topic)
        if known is not None:
            return known
        with self._lock:
            number = self._ids.get(topic) or secrets.token_bytes(8)
            if topic not in self._ids and not self.announce(number.hex(), self._announcement(number, topic)):
                self._unannounced.add(topic)
            self._ids[topic] = number
            return number

    def joined(self, trace: bytes, topic: str, ranges: Mapping[tuple[str, int], tuple[int, int]]) -> None:
        """Tell which input offsets [from, to) of which (topic, partition)s met in a trace.

        `topic` is the one whose process id is in the header of what is made from them.
        """
        inputs = [{"topic": t, "partition": n, "from": a, "to": b} for (t, n), (a, b) in sorted(ranges.items())]
        told = {
            "type": "inputs.joined.v1",
            "trace": trace.hex(),
            "process": self.id_for(topic).hex(),
            "inputs": inputs,
            "at_ms": time.time_ns() // 1_000_000,
        }
        self.announce(trace.hex(), told)

    def touched(self, kind: Kind, name: str, *, direction: Direction = "out") -> None:
        """Note that what is in hand was written to, or read from, something that is no topic."""
        if not transport.is_known() or self._nobody_asks():
            return
        held = in_hand()
        none = lineage.NO_INPUT
        header = lineage.pack_hop(self._own_id(), none, none) if held is None else held.onward()
        # To have an id is to have told of it, or to have found out that nobody reads that.
        if not self._nobody_asks():
            self._touches.note(header, kind, name, direction=direction)

    def _nobody_asks(self) -> bool:
        """A shadow rewind has touched nothing that others know: the graph is of what is live."""
        return self._in_shadow or self._told is False

    def sending(self, topic: str) -> deque[bytes]:
        """Where to put the header of what was sent to a topic; where nobody would read of it, nowhere."""
        return deque() if self._nobody_asks() else self._touches.sending(topic)

    def announce(self, key: str, told: Mapping[str, object]) -> bool:
        """Put it on `.kirby.lineage`, where there is such a topic; elsewhere nobody asks, and that is no error.

        False when Kafka did not answer, so that it may be told later.
        """
        if self._told is None:
            try:
                self._told = transport.current().admin().partitions(LINEAGE_TOPIC, timeout=_ANSWER_S) is not None
            except KafkaUnavailable:
                return False
        if self._told:
            _outbox.outbox().tell(LINEAGE_TOPIC, orjson.dumps(told), key.encode())
        return True

    def _own_id(self) -> bytes:
        """As `id_for("")`, announced only when it is told of: files and calls must not wait for Kafka."""
        with self._lock:
            if "" not in self._ids:
                self._ids[""] = secrets.token_bytes(8)
                self._unannounced.add("")
            return self._ids[""]

    def _tell_touched(self, process: str, touched: Sequence[Told]) -> None:
        with self._lock:
            for topic in list(self._unannounced):
                number = self._ids[topic]
                if self.announce(number.hex(), self._announcement(number, topic)):
                    self._unannounced.discard(topic)
        self.announce(process, {"type": "process.touched.v1", "process": process, "touched": touched})

    def _announcement(self, number: bytes, topic: str) -> dict[str, object]:
        environment = os.environ.get
        return {
            "type": "process.announced.v1",
            "process": number.hex(),
            "job": environment("KIRBY_JOB", ""),
            "env": environment("KIRBY_ENV", ""),
            "package": environment("PACKAGE_NAME", ""),
            "version": environment("KIRBY_VERSION", ""),
            "run_id": environment("KIRBY_RUN_ID", ""),
            "attempt": int(environment("KIRBY_ATTEMPT") or 0),
            "slot": environment("KIRBY_SLOT", ""),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "program": os.path.basename(sys.argv[0]) if sys.argv else "",
            "reads": topic,
            "rerun": self.rerun,
            "at": datetime.now(UTC).isoformat(),
        }


class Route:
    """From a topic through this process: makes the headers of what is made from that topic's messages.

    `origin` is the other environment that the topic is read from, or ""; `marks` are the rewinds that its reader is in,
    by partition.
    """

    __slots__ = ("_flags", "_id", "_topic", "marks", "origin")

    def __init__(self, topic: str, origin: str = "") -> None:
        self.origin: str = origin
        self._topic = topic
        self._id = b""
        self._flags = 0
        self.marks: Mapping[int, Mark] = {}

    def rewound(self, record: Record) -> bool:
        """Whether the record is read again by a rewind of this process's group."""
        mark = self.marks.get(record.partition())
        return mark is not None and mark.covers(record.offset())

    def onward(self, record: Record) -> bytes:
        """The header of what is made from this record alone. Called for each message that is sent."""
        hop = lineage.pack_hop(self._id or self._known(), record.partition(), record.offset())
        flags = self._flags | lineage.RERUN if self.marks and self.rewound(record) else self._flags
        header = header_of(record)
        if header is not None:
            made = lineage.forward(header, hop, flags=flags, origin=self.origin)
            if made is not None:
                return made
        return lineage.begin(process().trace(), hop, flags=flags, origin=self.origin)

    def _known(self) -> bytes:
        """The process is announced when it first sends, not when it reads."""
        this = process()
        self._flags = this.flags
        self._id = this.id_for(self._topic)
        return self._id


def header_of(record: Record) -> bytes | None:
    """The record's `kirby` header; None where it has none."""
    for name, value in record.headers() or ():
        if name == "kirby":
            return value if isinstance(value, bytes) else None
    return None


def is_from_rerun(record: Record) -> bool:
    """Whether a re-run made the record."""
    # As `header_of` finds it; called for each message of a batch.
    for name, value in record.headers() or ():
        if name == "kirby":
            return isinstance(value, bytes) and lineage.is_rerun(value)
    return False


known: Process | None = None
_making = threading.Lock()


def process() -> Process:
    """This process, known since the first send."""
    global known
    if known is not None:
        return known
    with _making:
        if known is None:
            known = Process()
        return known


def tell_touches() -> None:
    """Tell what was touched and not told yet."""
    if known is not None:
        known.tell_touches()


def forget() -> None:
    """Another transport may know no `.kirby.lineage`."""
    global known
    before, known = known, None
    if before is not None:
        before.end_touches()


def _forget_in_child() -> None:
    """A forked child is another process; its parent's locks may be held for ever."""
    global known, _making
    known, _making = None, threading.Lock()


# Later than the outbox's own, and so called before it, which delivers.
atexit.register(tell_touches)
os.register_at_fork(after_in_child=_forget_in_child)
