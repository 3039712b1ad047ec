"""A message of `.kirby.logs` as the recorder sees it: which attempt, which frames, how much."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

from kirby_common.logchunks import END, BadChunk, Frame, frames
from kirby_common.ports import Record


class Unreadable(ValueError):
    """The message is not a log chunk, or not what its headers say."""


@dataclass(frozen=True)
class Chunk:
    """A message; `frames` are those of it that still count."""

    run_id: UUID
    grant: int
    topic: str
    partition: int
    offset: int
    frames: Sequence[Frame]
    sha256: str
    at: datetime

    @property
    def first_seq(self) -> int:
        return self.frames[0].seq

    @property
    def last_seq(self) -> int:
        return self.frames[-1].seq

    @property
    def first_line(self) -> int:
        return self.frames[0].line

    @property
    def lines(self) -> int:
        return sum(frame.nlines for frame in self.frames)

    @property
    def bytes(self) -> int:
        return sum(len(frame.payload) for frame in self.frames)

    @property
    def complete(self) -> bool:
        return bool(self.frames[-1].flags & END)

    def without(self, covered: Callable[[int], bool]) -> "Chunk | None":
        """The chunk less the frames whose seq is covered already; None when nothing of it is left.

        A re-send may have other message boundaries than what was sent first.
        """
        left = [frame for frame in self.frames if not covered(frame.seq)]
        return replace(self, frames=left) if left else None


def read_chunk(record: Record) -> Chunk:
    """Raises `Unreadable`."""
    try:
        run_id = UUID((record.key or b"").decode())
        grant = int(record.headers["grant"])
        said = record.headers["sha256"].decode()
        value = record.value or b""
        held = list(frames(value))
    except (KeyError, ValueError, BadChunk) as error:
        raise Unreadable(f"not a log chunk: {error}") from error
    if not held:
        raise Unreadable("the chunk has no frames")
    digest = sha256(value).hexdigest()
    if digest != said:
        raise Unreadable("the chunk's digest does not match")
    return Chunk(
        run_id=run_id,
        grant=grant,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        frames=held,
        sha256=digest,
        at=datetime.fromtimestamp(record.timestamp_ms / 1000, UTC),
    )
