"""Cuts what a script prints into numbered frames; the layout is a copy of `kirby_common.logchunks`.

The shim starts without site-packages, so it can't import that module; a contract test compares the two.
"""

import hashlib
import struct

HEADER = struct.Struct("<QQQQIIBB")
STDOUT, STDERR, SYSTEM = 1, 2, 3
CONT, OPEN, END = 1, 2, 4

HOLD_S = 0.05
HOLD_BYTES = 65_536


class Framer:
    """Frames of one attempt: both streams share the sequence and the line numbers.

    An unfinished line is held back for up to `HOLD_S`, so that most frames are whole lines.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.lines = 0
        self.bytes = 0
        self._digest = hashlib.sha256()
        self._open: dict[int, int] = {}
        self._held: dict[int, bytes] = {}
        self._held_since: dict[int, float] = {}

    def feed(self, stream: int, data: bytes, *, now: float, t_ns: int) -> bytes:
        """The frames that can be written at once."""
        held = self._held.pop(stream, b"")
        whole = held + data if held else data
        cut = whole.rfind(b"\n") + 1
        if len(whole) - cut >= HOLD_BYTES:
            cut = len(whole)
        if cut < len(whole):
            self._held[stream] = whole[cut:]
            if cut or stream not in self._held_since:
                self._held_since[stream] = now
        else:
            self._held_since.pop(stream, None)
        return self._frame(stream, whole[:cut], t_ns) if cut else b""

    def next_flush(self) -> float | None:
        """When the oldest held piece must go out."""
        return min(self._held_since.values()) + HOLD_S if self._held_since else None

    def flush(self, *, now: float, t_ns: int) -> bytes:
        """The held pieces whose time is over."""
        due = [stream for stream, since in self._held_since.items() if since + HOLD_S <= now]
        return b"".join(self.release(stream, t_ns=t_ns) for stream in due)

    def release(self, stream: int, *, t_ns: int) -> bytes:
        """What is held of the stream, now."""
        self._held_since.pop(stream, None)
        held = self._held.pop(stream, b"")
        return self._frame(stream, held, t_ns) if held else b""

    def system(self, text: str, *, t_ns: int) -> bytes:
        """A line of Kirby's own."""
        return self._frame(SYSTEM, text.encode() + b"\n", t_ns)

    def end(self, *, t_ns: int) -> bytes:
        """The rest, and the frame that says that the output is complete."""
        rest = b"".join(self.release(stream, t_ns=t_ns) for stream in list(self._held))
        last = HEADER.pack(self.seq, t_ns, self.lines + 1, 0, 0, 0, SYSTEM, END)
        self.seq += 1
        return rest + last

    def summary(self) -> dict[str, object]:
        """Counts and digest of all that was framed; `last_seq` is the END frame's once there is one."""
        return {
            "lines": self.lines,
            "bytes": self.bytes,
            "last_seq": self.seq - 1,
            "sha256": self._digest.hexdigest(),
        }

    def _frame(self, stream: int, payload: bytes, t_ns: int) -> bytes:
        continued = self._open.pop(stream, 0)
        ends = payload.endswith(b"\n")
        begun = payload.count(b"\n") + (0 if ends else 1) - (1 if continued else 0)
        first = self.lines + 1
        flags = (CONT if continued else 0) | (0 if ends else OPEN)
        header = HEADER.pack(self.seq, t_ns, first, continued, begun, len(payload), stream, flags)
        self.seq += 1
        self.lines += begun
        self.bytes += len(payload)
        self._digest.update(payload)
        if not ends:
            self._open[stream] = self.lines if begun else continued
        return header + payload
