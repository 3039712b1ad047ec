"""What the ledger knows of a run's logs: its attempts, and the pointers into Kafka."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kirby_common.ledger.tables import Attempt, LogPointer, Run
from kirby_common.ledger.transitions import ENDED
from kirby_common.murmur2 import partition_for
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.runs.query import attempts_of, find_run


@dataclass(frozen=True)
class Pointer:
    """A stretch of frames: offsets [first_offset, last_offset] of the run's partition hold them, among others'."""

    first_seq: int
    last_seq: int
    first_offset: int
    last_offset: int
    first_line: int
    lines: int
    complete: bool
    partition: int

    @property
    def last_line(self) -> int:
        return self.first_line + self.lines - 1


@dataclass(frozen=True)
class AttemptLog:
    """One attempt's log. `expected_seq` is the last frame that the shim counted, None while it runs."""

    grant: int
    since: datetime
    pointers: tuple[Pointer, ...]
    expected_seq: int | None
    lines: int | None

    @property
    def complete(self) -> bool:
        """Whether the pointers cover all there will ever be."""
        return bool(self.pointers) and self.pointers[-1].complete

    @property
    def last_line(self) -> int:
        """The highest line number that is recorded, or that the shim counted."""
        return self.lines or max((pointer.last_line for pointer in self.pointers), default=0)


@dataclass(frozen=True)
class RunLog:
    run_id: UUID
    ended: bool
    attempts: tuple[AttemptLog, ...]

    @property
    def key(self) -> bytes:
        return str(self.run_id).encode()

    def partition(self, partitions: int) -> int:
        """Where the run's chunks lie: every producer partitions by murmur2 of the run's id."""
        return partition_for(self.key, partitions)

    def of(self, grant: int) -> AttemptLog | None:
        return next((attempt for attempt in self.attempts if attempt.grant == grant), None)


async def run_log(db: AsyncSession, run_id: UUID) -> RunLog:
    """Raises `NotFound`."""
    run: Run = await find_run(db, run_id)
    rows = (
        await db.scalars(
            select(LogPointer).where(LogPointer.run_id == run_id).order_by(LogPointer.grant, LogPointer.first_seq)
        )
    ).all()
    attempts = [a for a in await attempts_of(db, run_id) if a.launching_at or any(r.grant == a.grant for r in rows)]
    return RunLog(run_id, run.status in ENDED, tuple(_attempt(a, rows) for a in attempts))


def _attempt(attempt: Attempt, rows: Sequence[LogPointer]) -> AttemptLog:
    counted = attempt.log or {}
    return AttemptLog(
        grant=attempt.grant,
        since=attempt.claimed_at,
        pointers=tuple(_pointer(row) for row in rows if row.grant == attempt.grant),
        expected_seq=counted.get("last_seq"),
        lines=counted.get("lines"),
    )


def _pointer(r: LogPointer) -> Pointer:
    return Pointer(
        r.first_seq, r.last_seq, r.first_offset, r.last_offset, r.first_line, r.lines, r.complete, r.partition
    )
