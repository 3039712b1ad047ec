"""The stored log of an attempt: pointer by pointer, then what lies beyond the last one."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

from kirby_common.ports import Record
from kirby_common.topics import LOGS

from kirby_api.logs.attempts import AttemptLog, Pointer, RunLog
from kirby_api.logs.chunks import frames_of, grant_of
from kirby_api.logs.lines import MAX_LINE, Assembler, Gap, Line
from kirby_api.logs.ports import Bounds, LogStore

_CLOCKS_DIFFER = timedelta(minutes=10)
_JOIN = 500
"""Stretches that are this many offsets apart are read in one go."""


@dataclass(frozen=True)
class Where:
    """Where a run's chunks lie, and up to which offset to read."""

    partition: int
    begin: int
    end: int


async def locate(store: LogStore, run: RunLog, *, end: int | None = None) -> Where | None:
    """None while the topic does not exist. Raises `BusUnavailable`."""
    bounds: dict[int, Bounds] = await store.bounds(LOGS)
    if not bounds:
        return None
    partition = run.partition(len(bounds))
    held = bounds[partition]
    return Where(partition, held.begin, held.end if end is None else min(end, held.end))


class AttemptReader:
    """Reads one attempt from a pointer on; the assembler tells what was seen."""

    def __init__(
        self,
        store: LogStore,
        run: RunLog,
        attempt: AttemptLog,
        where: Where,
        *,
        from_pointer: int = 0,
        max_line: int = MAX_LINE,
    ) -> None:
        self._store = store
        self._run = run
        self._attempt = attempt
        self._where = where
        self._pointers = attempt.pointers[from_pointer:]
        first = self._pointers[0].first_seq if from_pointer and self._pointers else 0
        self.assembler = Assembler(attempt.grant, next_seq=first, max_line=max_line)

    async def batches(self) -> AsyncGenerator[list[Line | Gap]]:
        """Lines and gaps in the order in which they were completed. Raises `BusUnavailable`."""
        expired = self._expired()
        if expired is not None:
            self.assembler.next_seq = expired.last_seq + 1
            yield [expired]
        for start, end in await self._stretches():
            async with aclosing(self._store.read(LOGS, self._where.partition, start=start, end=end)) as stored:
                async for records in stored:
                    for record in records:
                        made = self._fed(record)
                        if made:
                            yield made
            if self.assembler.ended:
                return
        rest = self._rest()
        if rest:
            yield rest

    def _fed(self, record: Record) -> list[Line | Gap]:
        """What one chunk completes: a reader that has enough stops before the next one."""
        if record.key != self._run.key or grant_of(record) != self._attempt.grant:
            return []
        return [item for frame in frames_of(record) for item in self.assembler.feed(frame)]

    def _expired(self) -> Gap | None:
        """The frames that Kafka no longer keeps."""
        gone = [p for p in self._pointers if p.first_offset < self._where.begin]
        if not gone:
            return None
        return Gap(self._attempt.grant, gone[0].first_seq, gone[-1].last_seq, "expired")

    async def _stretches(self) -> list[tuple[int, int]]:
        kept = [p for p in self._pointers if p.first_offset >= self._where.begin]
        found = joined(kept, end=self._where.end)
        if not self._attempt.complete:
            start = await self._beyond()
            if start < self._where.end:
                found.append((start, self._where.end))
        return found

    async def _beyond(self) -> int:
        if self._attempt.pointers:
            return self._attempt.pointers[-1].last_offset + 1
        return await self._store.offset_at(LOGS, self._where.partition, self._attempt.since - _CLOCKS_DIFFER)

    def _rest(self) -> list[Line | Gap]:
        """What the pointers promise and Kafka did not have."""
        known = self._attempt.pointers[-1].last_seq if self._attempt.pointers else -1
        following = self.assembler.next_seq or 0
        covered = self._attempt.pointers and self._attempt.pointers[-1].last_offset < self._where.end
        if covered and following <= known:
            self.assembler.next_seq = known + 1
            return [*self.assembler.finish(), Gap(self._attempt.grant, following, known)]
        return []


def joined(pointers: list[Pointer], *, end: int) -> list[tuple[int, int]]:
    """The offsets to read, [start, end), for these pointers: near ones in one go."""
    found: list[tuple[int, int]] = []
    for pointer in pointers:
        start, stop = pointer.first_offset, min(pointer.last_offset + 1, end)
        if start >= stop:
            continue
        if found and start - found[-1][1] <= _JOIN:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return found


def pointer_of_line(attempt: AttemptLog, n: int) -> int:
    """The pointer to begin with when lines from `n` on are wanted: the last one that begins at or before it."""
    chosen = 0
    for index, pointer in enumerate(attempt.pointers):
        if pointer.first_line <= n:
            chosen = index
    return chosen


def pointer_of_tail(attempt: AttemptLog, lines: int) -> int:
    """The pointer to begin with when the last `lines` lines are wanted."""
    held = 0
    for index in range(len(attempt.pointers) - 1, -1, -1):
        held += attempt.pointers[index].lines
        if held > lines:
            return index
    return 0


def pointer_of_seq(attempt: AttemptLog, seq: int) -> int:
    """The pointer to begin with when what follows frame `seq` is wanted."""
    return max((i for i, pointer in enumerate(attempt.pointers) if pointer.first_seq <= seq), default=0)
