"""The run folder's files that the shim writes: the log spool, in segments, and the journal."""

import json
import os
from collections import deque

SEGMENT_BYTES = 16 * 1024 * 1024


def segment_name(number: int) -> str:
    return f"spool.{number:06d}"


class Spool:
    """An append-only queue of frames on disk. The worker removes the segments whose frames are recorded.

    A full disk or a full spool only makes it `blocked`: nothing is lost, and `write` goes on when there is room.
    """

    def __init__(self, *, limit: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._limit = limit
        self._segment_bytes = min(segment_bytes, max(65_536, limit // 4))
        self._pending: deque[bytes] = deque()
        self._done = 0
        self._number = 1
        self._size = 0
        self._others = 0
        self._fd = self._open()

    @property
    def blocked(self) -> bool:
        return bool(self._pending)

    @property
    def position(self) -> tuple[int, int]:
        """Segment and size up to which everything is on disk."""
        return self._number, self._size

    def write(self, frames: bytes = b"") -> bool:
        """Appends whole frames, and what was left from before; False when blocked."""
        if frames:
            self._pending.append(frames)
        try:
            while self._pending and self._has_room():
                self._write_some()
        except OSError:
            return False
        return not self._pending

    def sync(self) -> None:
        os.fsync(self._fd)

    def _write_some(self) -> None:
        view = memoryview(self._pending[0])[self._done :]
        written = os.write(self._fd, view)
        self._size += written
        self._done += written
        if self._done == len(self._pending[0]):
            self._pending.popleft()
            self._done = 0

    def _has_room(self) -> bool:
        if self._done or self._size + self._others < self._limit:
            if not self._done and self._size >= self._segment_bytes:
                self._roll()
            return True
        self._others = _size_of_segments(besides=self._number)
        return self._size + self._others < self._limit

    def _roll(self) -> None:
        os.fsync(self._fd)
        number = self._number
        self._number += 1
        try:
            fd = self._open()
        except OSError:
            self._number = number
            raise
        os.close(self._fd)
        self._fd, self._size = fd, 0
        self._others = _size_of_segments(besides=self._number)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(segment_name(self._number), flags, 0o600)


def _size_of_segments(*, besides: int) -> int:
    skipped = segment_name(besides)
    total = 0
    with os.scandir(".") as entries:
        for entry in entries:
            if entry.name.startswith("spool.") and entry.name != skipped:
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:
                    continue  # The worker has just removed it.
    return total


class Journal:
    """What became of the attempt, one JSON line a fact.

    A worker that reads it after a reboot trusts no absence of a fact, so only those need a sync that somebody
    acts upon at once: the start, and the end.
    """

    def __init__(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open("journal", flags, 0o600)

    def write(self, fact: dict[str, object], *, durable: bool = False) -> None:
        """Raises OSError when there is no room, or no certainty."""
        line = json.dumps(fact).encode() + b"\n"
        # A line cut short by a full disk is closed by the next one's leading newline; readers skip it.
        if os.write(self._fd, line) != len(line):
            os.write(self._fd, b"\n")
            raise OSError("the journal is cut short")
        if durable:
            os.fsync(self._fd)
