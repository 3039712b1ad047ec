"""Frames of an attempt become lines. Pure: fed in the order in which they lie on Kafka."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kirby_common.logchunks import END, Frame, LogPiece, pieces

from kirby_api.logs.levels import LevelReader

MAX_LINE = 1_048_576
"""More bytes of one line are not shown in JSON; the text download has them all."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line, complete unless `open`. (seq, index) says which frame completed it: the order of emission."""

    grant: int
    n: int
    t_ns: int
    stream: str
    data: bytes
    level: str | None
    seq: int
    index: int
    cut: int = 0
    open: bool = False

    @property
    def id(self) -> str:
        return f"{self.grant}.{self.n}"

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace").removesuffix("\r")

    def form(self) -> dict[str, Any]:
        """The REST form."""
        made = {
            "n": self.n, "t": stamp(self.t_ns), "stream": self.stream, "level": self.level, "text": self.text,
            "grant": self.grant, "id": self.id,
        }  # fmt: skip
        if self.cut:
            made["cut"] = self.cut
        if self.open:
            made["open"] = True
        return made


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames that are not there: never another run's text in their place."""

    grant: int
    first_seq: int
    last_seq: int
    reason: str = "missing"

    def form(self) -> dict[str, Any]:
        return {"grant": self.grant, "first_seq": self.first_seq, "last_seq": self.last_seq, "reason": self.reason}


def stamp(t_ns: int) -> str:
    """RFC 3339, microseconds, Z."""
    seconds, rest = divmod(t_ns, 1_000_000_000)
    base = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return base.isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class _Open:
    """A line whose end has not come yet."""

    n: int
    t_ns: int
    stream: str
    data: bytearray
    size: int = 0
    parts: int = 0


@dataclass
class Assembler:
    """The lines of one attempt. `next_seq` None: begins with whatever frame comes first."""

    grant: int
    next_seq: int | None = 0
    max_line: int = MAX_LINE
    ended: bool = False
    headless: bool = False
    """A line went on whose beginning was not fed."""
    highest: int = 0
    _open: dict[int, _Open] = field(default_factory=dict)
    _levels: dict[str, LevelReader] = field(default_factory=dict)

    def feed(self, frame: Frame) -> Iterator[Line | Gap]:
        """What the frame completes. A frame that was seen before gives nothing."""
        if self.next_seq is not None and frame.seq < self.next_seq:
            return
        if self.next_seq is not None and frame.seq > self.next_seq:
            yield from self._jump(frame.seq)
        self.next_seq = frame.seq + 1
        self.ended = self.ended or bool(frame.flags & END)
        for index, piece in enumerate(pieces(frame)):
            if piece.number > self.highest:
                self.highest = piece.number
            if piece.open or piece.cont:
                line = self._part(piece, index)
                if line is not None:
                    yield line
            else:
                yield self._line(piece.number, piece.t_ns, piece.stream, piece.data, piece.seq, index)
        if self.ended:
            yield from self.finish()

    def finish(self) -> Iterator[Line]:
        """The lines that no line end follows any more."""
        for held in sorted(self._open.values(), key=lambda o: o.n):
            yield self._close(held, (self.next_seq or 1) - 1, 1_000_000 + held.n)
        self._open.clear()

    def unfinished(self) -> Iterator[Line]:
        """What there is of open lines by now; they stay open."""
        for held in self._open.values():
            yield Line(
                self.grant, held.n, held.t_ns, held.stream, bytes(held.data), None, -1, 0, held.size - len(held.data),
                open=True,
            )  # fmt: skip

    @property
    def lowest_open(self) -> int | None:
        return min(self._open, default=None)

    def _jump(self, seq: int) -> Iterator[Line | Gap]:
        yield from self.finish()
        yield Gap(self.grant, self.next_seq or 0, seq - 1)

    def _part(self, piece: LogPiece, index: int) -> Line | None:
        held = self._open.get(piece.number)
        if held is None:
            self.headless = self.headless or piece.cont
            held = self._open[piece.number] = _Open(piece.number, piece.t_ns, piece.stream, bytearray())
        held.size += len(piece.data)
        room = self.max_line - len(held.data)
        if room > 0:
            held.data += piece.data[:room]
        if piece.open:
            return None
        del self._open[piece.number]
        return self._close(held, piece.seq, index)

    def _close(self, held: _Open, seq: int, index: int) -> Line:
        return self._line(held.n, held.t_ns, held.stream, bytes(held.data), seq, index, held.size - len(held.data))

    def _line(self, n: int, t_ns: int, stream: str, data: bytes, seq: int, index: int, cut: int = 0) -> Line:
        if len(data) > self.max_line:
            data, cut = data[: self.max_line], len(data) - self.max_line
        reader = self._levels.get(stream)
        if reader is None:
            reader = self._levels[stream] = LevelReader()
        return Line(self.grant, n, t_ns, stream, data, reader.level(data), seq, index, cut)
