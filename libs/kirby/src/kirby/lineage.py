"""The packed header `kirby`: where a message comes from, hop by hop. Pure; the layout is golden bytes in the tests.

    0      version, 1
    1      flags: 1 a re-run · 2 several inputs met here (they are told on `.kirby.lineage`)
    2–3    how many hops were dropped, oldest first, because there were more than 32
    4–19   the trace's id
    20     length of the origin environment's name, which follows; 0 when the message was born in this environment
    …      hops of 20 bytes, oldest first: process id (8), input partition (4), input offset (8)

All numbers are big-endian; partition and offset are -1 where a process wrote without having read. A process id stands
for one process reading one topic; it is announced once on the topic `.kirby.lineage`.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

HEADER: Final = "kirby"
MOST_HOPS: Final = 32
RERUN: Final = 1
JOINED: Final = 2
NO_INPUT: Final = -1
_VERSION = 1
_FIXED = 21
_HOP = struct.Struct(">8siq")
_START = struct.Struct(">BBH16sB")
pack_hop: Callable[..., bytes] = _HOP.pack
"""`pack_hop(process, partition, offset)`: a hop's 20 bytes."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One process that had the message in hand: its id, and the message that it read (-1, -1: none)."""

    process: bytes
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Lineage:
    """A header, unpacked. `dropped` counts hops older than `hops[0]`; `origin` is the environment of birth, or ""."""

    trace: bytes
    rerun: bool
    joined: bool
    dropped: int
    origin: str
    hops: tuple[Hop, ...]


def begin(trace: bytes, hop: bytes, *, flags: int = 0, origin: str = "") -> bytes:
    """The header of a message that comes from nowhere, or from several messages: one packed hop.

    >>> len(begin(bytes(16), pack_hop(b"process1", NO_INPUT, NO_INPUT)))
    41
    """
    name = origin.encode()[:255]
    return _START.pack(_VERSION, flags, 0, trace, len(name)) + name + hop


def forward(header: bytes, hop: bytes, *, flags: int = 0, origin: str = "") -> bytes | None:
    """The header of a message made from one with `header`: a packed hop more, `flags` besides its own.

    `origin` is set unless the header has one. None when `header` is not one that this version understands.
    """
    size = len(header)
    if size < _FIXED or header[0] != _VERSION:
        return None
    hops = size - _FIXED - header[20]
    if hops < 0 or hops % 20:
        return None
    if origin and not header[20]:
        name = origin.encode()[:255]
        header = header[:20] + bytes([len(name)]) + name + header[_FIXED:]
    if hops >= MOST_HOPS * 20:
        header = _without_oldest(header, hops // 20 - MOST_HOPS + 1)
    if flags & ~header[1]:
        header = header[:1] + bytes([header[1] | flags]) + header[2:]
    return header + hop


def unpack(header: bytes) -> Lineage | None:
    """What a header says; None when it is not one that this version understands.

    >>> unpack(begin(bytes(16), pack_hop(b"process1", 3, 17))).hops
    (Hop(process=b'process1', partition=3, offset=17),)
    """
    if len(header) < _FIXED or header[0] != _VERSION:
        return None
    _, flags, dropped, trace, length = _START.unpack_from(header)
    hops = header[_FIXED + length :]
    if len(header) < _FIXED + length or len(hops) % 20:
        return None
    return Lineage(
        trace=trace,
        rerun=bool(flags & RERUN),
        joined=bool(flags & JOINED),
        dropped=dropped,
        origin=header[_FIXED : _FIXED + length].decode(errors="replace"),
        hops=tuple(Hop(*hop) for hop in _HOP.iter_unpack(hops)),
    )


def is_rerun(header: bytes) -> bool:
    """Whether a header says that a re-run made the message; quicker than to unpack it."""
    return len(header) >= _FIXED and header[0] == _VERSION and bool(header[1] & RERUN)


def _without_oldest(header: bytes, count: int) -> bytes:
    first = _FIXED + header[20]
    dropped = min(0xFFFF, int.from_bytes(header[2:4], "big") + count)
    return header[:2] + dropped.to_bytes(2, "big") + header[4:first] + header[first + 20 * count :]
