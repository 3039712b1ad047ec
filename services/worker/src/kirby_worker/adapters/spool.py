"""Reads an attempt's spool, segment by segment, as messages of whole frames."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from kirby_common.logchunks import END, HEADER

from kirby_worker.shim.spool import segment_name

MESSAGE_BYTES = 512 * 1024


@dataclass(frozen=True)
class Position:
    """The next byte to read, and the next frame's number."""

    segment: int = 1
    offset: int = 0
    seq: int = 0


@dataclass(frozen=True)
class LogMessage:
    """Whole frames, as they go to Kafka, and where the spool goes on after them."""

    value: bytes
    first: int
    last: int
    ends: bool
    begin: Position
    after: Position

    def headers(self, grant: int) -> dict[str, bytes]:
        numbers = {"grant": grant, "first": self.first, "last": self.last}
        return {k: str(v).encode() for k, v in numbers.items()} | {
            "sha256": hashlib.sha256(self.value).hexdigest().encode()
        }


class SpoolReader:
    """The reading end of `kirby_worker.shim.spool`; knows which segments are done with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last_seq: dict[int, int] = {}
        self._rest = b""

    def read(self, at: Position) -> LogMessage | None:
        """The next message, or None when there is no whole frame yet."""
        while True:
            following = (self._folder / segment_name(at.segment + 1)).exists()
            value = self._read_frames(at)
            if value:
                return self._message(at, value)
            if not following:
                return None
            at = replace(at, segment=at.segment + 1, offset=0)

    def skip(self, at: Position, *, through: int) -> Position:
        """Past all frames up to that number: they are recorded already."""
        while at.seq <= through and (message := self.read(at)) is not None and message.first <= through:
            if message.last <= through:
                at = message.after
                continue
            at = _within(message, through)
        return at

    def discard(self, *, through: int) -> None:
        """Removes the segments whose frames are all recorded, except the one being written."""
        for segment, last in sorted(self._last_seq.items()):
            following = (self._folder / segment_name(segment + 1)).exists()
            if last <= through and following and segment + 1 in self._last_seq:
                (self._folder / segment_name(segment)).unlink(missing_ok=True)
                del self._last_seq[segment]

    def first_position(self) -> Position:
        """Where the spool begins now: earlier segments may be gone."""
        numbers = sorted(int(p.name.partition(".")[2]) for p in self._folder.glob("spool.*"))
        if not numbers:
            return Position()
        first = Position(segment=numbers[0])
        header = self._bytes(first, HEADER.size)
        return first if len(header) < HEADER.size else replace(first, seq=HEADER.unpack(header)[0])

    def _read_frames(self, at: Position) -> bytes:
        data = self._bytes(at, MESSAGE_BYTES)
        end = _whole_frames(data)
        if end == 0 and len(data) >= HEADER.size:
            size = HEADER.unpack_from(data)[5] + HEADER.size
            data = self._bytes(at, size)
            end = size if len(data) == size else 0
        return data[:end]

    def _bytes(self, at: Position, count: int) -> bytes:
        try:
            with (self._folder / segment_name(at.segment)).open("rb") as file:
                file.seek(at.offset)
                return file.read(count)
        except FileNotFoundError:
            return b""

    def _message(self, at: Position, value: bytes) -> LogMessage:
        first = HEADER.unpack_from(value)[0]
        last, flags = first, 0
        offset = 0
        while offset < len(value):
            last, _, _, _, _, size, _, flags = HEADER.unpack_from(value, offset)
            offset += HEADER.size + size
        self._last_seq[at.segment] = max(last, self._last_seq.get(at.segment, -1))
        after = Position(at.segment, at.offset + len(value), last + 1)
        return LogMessage(value, first, last, bool(flags & END), at, after)


def _whole_frames(data: bytes) -> int:
    offset = 0
    while offset + HEADER.size <= len(data):
        end = offset + HEADER.size + HEADER.unpack_from(data, offset)[5]
        if end > len(data):
            break
        offset = end
    return offset


def _within(message: LogMessage, through: int) -> Position:
    """The position after frame `through` inside the message."""
    offset = 0
    while True:
        seq, _, _, _, _, size, _, _ = HEADER.unpack_from(message.value, offset)
        if seq > through:
            return replace(message.begin, offset=message.begin.offset + offset, seq=seq)
        offset += HEADER.size + size
