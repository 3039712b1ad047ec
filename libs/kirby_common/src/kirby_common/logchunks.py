"""Log chunks: how a script's output travels from the shim's spool through `.kirby.logs` to a reader.

A *frame* is one piece of one stream as the shim read it, cut at line ends where there were any:

    seq u64 | t_ns u64 (wall, ns) | line u64 | cont u64 | nlines u32 | size u32 | stream u8 | flags u8 | payload

`seq` counts frames of an attempt from 0 without gaps. `line` is the number (from 1, both streams of an
attempt share the count) of the first line that *begins* in the payload; the others follow. If flag CONT is
set the payload begins inside line `cont`, which an earlier frame of the same stream left open. If flag OPEN
is set the last line of the payload has no line end yet. `nlines` is how many lines begin in the payload.

A Kafka message holds whole frames in order; its key is the run id, its headers say `grant`, `first`, `last`
(frame numbers, ASCII) and `sha256` (of the value). Readers skip frames whose seq they have seen.
The frame with flag END has no payload and says that the attempt's output is complete.
The shim, which may import only the standard library, has this layout by copy; a contract test holds both.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

HEADER = struct.Struct("<QQQQIIBB")
STDOUT, STDERR, SYSTEM = 1, 2, 3
CONT, OPEN, END = 1, 2, 4
_NAMES: dict[int, Literal["stdout", "stderr", "system"]] = {1: "stdout", 2: "stderr", 3: "system"}


class BadChunk(ValueError):
    """The bytes are not whole frames."""


@dataclass(frozen=True)
class Frame:
    seq: int
    t_ns: int
    line: int
    cont: int
    nlines: int
    stream: int
    flags: int
    payload: bytes

    def encode(self) -> bytes:
        header = HEADER.pack(
            self.seq, self.t_ns, self.line, self.cont, self.nlines, len(self.payload), self.stream, self.flags
        )
        return header + self.payload


@dataclass(frozen=True)
class LogPiece:
    """A line, or a part of one: `cont` when it continues the line of that number, `open` when more may follow."""

    number: int
    t_ns: int
    stream: Literal["stdout", "stderr", "system"]
    data: bytes
    cont: bool
    open: bool
    seq: int


def frames(value: bytes) -> Iterator[Frame]:
    """The frames of a message. Raises `BadChunk` when it is cut or not ours."""
    at = 0
    while at < len(value):
        if at + HEADER.size > len(value):
            raise BadChunk("cut inside a frame header")
        seq, t_ns, line, cont, nlines, size, stream, flags = HEADER.unpack_from(value, at)
        at += HEADER.size
        if at + size > len(value) or stream not in _NAMES:
            raise BadChunk("cut inside a frame, or not a frame")
        yield Frame(seq, t_ns, line, cont, nlines, stream, flags, value[at : at + size])
        at += size


def pieces(frame: Frame) -> Iterator[LogPiece]:
    """The lines, and parts of lines, in a frame."""
    if not frame.payload:
        return
    parts = frame.payload.split(b"\n")
    if parts[-1] == b"":
        parts.pop()
    number = frame.line
    for index, data in enumerate(parts):
        continues = index == 0 and bool(frame.flags & CONT)
        is_open = index == len(parts) - 1 and bool(frame.flags & OPEN)
        yield LogPiece(
            frame.cont if continues else number,
            frame.t_ns,
            _NAMES[frame.stream],
            data,
            continues,
            is_open,
            frame.seq,
        )
        if not continues:
            number += 1
