"""Following one run: what is stored, then what comes, each line once and in order; then the run's end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from kirby_common.ports import Record
from kirby_common.topics import LOGS

from kirby_api.logs.attempts import AttemptLog, RunLog
from kirby_api.logs.chunks import frames_of, grant_of
from kirby_api.logs.history import AttemptReader, Where, locate, pointer_of_line, pointer_of_seq
from kirby_api.logs.hub import Hub, Subscription
from kirby_api.logs.lines import Assembler, Gap, Line
from kirby_api.logs.ports import LogStore
from kirby_api.logs.position import Position

_LOOK_AGAIN_S = 5.0
_REST_S = 60.0
"""So long after a run's end its last lines may still come: they wait in the worker's spool while Kafka is away."""


@dataclass(frozen=True)
class Ended:
    """The run is over and its log is whole, or the rest did not come in time."""


Item = Line | Gap
Batch = list[Item] | Ended | None
"""None: nothing for a while."""


@dataclass
class Follower:
    """`look` reads the run's log facts from the ledger. `position` is kept up to date: the last line given."""

    store: LogStore
    logs: Hub
    events: Hub
    look: Callable[[], Awaitable[RunLog]]
    position: Position = field(default_factory=dict)
    after: tuple[int, int] | None = None
    """(grant, line): lines up to it were read already by number; used when `position` is empty."""
    assemblers: dict[int, Assembler] = field(default_factory=dict)
    _next_offset: int = 0

    async def batches(self) -> AsyncGenerator[Batch]:
        """Batches of lines and gaps as they come, None as a sign of life, `Ended` last. Raises `BusUnavailable`."""
        run = await self.look()
        wake = asyncio.Event()
        await self.logs.ready()
        partition = run.partition(len(self.logs.positions))
        with self.logs.subscribe(run.key, wake) as mine, self.events.subscribe(run.key, wake) as told:
            end = self.logs.catch_up(mine)[partition]
            # Looked at again, now that nothing new can slip by: an attempt may have begun meanwhile.
            async for batch in self._stored(await self.look(), end):
                yield batch
            run, deadline = await self.look(), None
            while True:
                if mine.behind:
                    async for batch in self._missed(run.key, partition, mine):
                        yield batch
                batch = self._kept(mine.take(), run.key)
                if batch:
                    yield batch
                if told.records or told.behind:
                    self.events.catch_up(told)
                    run = await self.look()
                if run.ended and not mine.records and not mine.behind:
                    now = asyncio.get_running_loop().time()
                    deadline = deadline or now + _REST_S
                    if self._whole(run) or now > deadline:
                        yield self._last(run)
                        yield Ended()
                        return
                if not await self._woken(wake, 1.0 if run.ended else _LOOK_AGAIN_S):
                    yield None
                    run = await self.look()

    async def _woken(self, wake: asyncio.Event, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await wake.wait()
        except TimeoutError:
            return False
        wake.clear()
        return True

    async def _stored(self, run: RunLog, end: int) -> AsyncGenerator[list[Item]]:
        """What Kafka holds before the hub's position."""
        self._next_offset = end
        where = await locate(self.store, run, end=end)
        if where is None:
            return
        for attempt in run.attempts:
            first = self._first_pointer(attempt)
            if first is None:
                continue
            async for items in self._attempt(run, attempt, where, first):
                yield items

    async def _attempt(self, run: RunLog, attempt: AttemptLog, where: Where, first: int) -> AsyncGenerator[list[Item]]:
        reader = AttemptReader(self.store, run, attempt, where, from_pointer=first)
        self.assemblers[attempt.grant] = reader.assembler
        async with aclosing(reader.batches()) as batches:
            async for items in batches:
                if reader.assembler.headless and first > 0:
                    break
                fresh = self._fresh(items)
                if fresh:
                    yield fresh
            else:
                return
        # A line went on whose beginning lies further back: read the attempt from its beginning.
        async for again in self._attempt(run, attempt, where, 0):
            yield again

    def _first_pointer(self, attempt: AttemptLog) -> int | None:
        """Where to begin; None for an attempt before the one that the caller asked to go on in."""
        at = self.position.get(attempt.grant)
        if at is not None:
            return pointer_of_seq(attempt, at[0])
        if self.after is None or self.position or attempt.grant > self.after[0]:
            return 0
        return pointer_of_line(attempt, self.after[1] + 1) if attempt.grant == self.after[0] else None

    async def _missed(self, key: bytes, partition: int, mine: Subscription) -> AsyncGenerator[list[Item]]:
        """What went by while the follower was too slow."""
        end = self.logs.catch_up(mine)[partition]
        async for records in self.store.read(LOGS, partition, start=self._next_offset, end=end):
            batch = self._kept(records, key)
            if batch:
                yield batch
        self._next_offset = max(self._next_offset, end)

    def _kept(self, records: Sequence[Record], key: bytes) -> list[Item]:
        made: list[Item] = []
        for record in records:
            self._next_offset = max(self._next_offset, record.offset + 1)
            grant = grant_of(record)
            if record.key == key and grant is not None:
                assembler = self.assemblers.setdefault(grant, Assembler(grant))
                for frame in frames_of(record):
                    made += assembler.feed(frame)
        return self._fresh(made)

    def _fresh(self, items: list[Item]) -> list[Item]:
        """Without the lines that the caller had before; the position moves on."""
        fresh: list[Item] = []
        for item in items:
            if isinstance(item, Gap) and item.last_seq <= self.position.get(item.grant, (-1, 0))[0]:
                continue
            if isinstance(item, Line):
                at = (item.seq, item.index)
                if at <= self.position.get(item.grant, (-1, 0)) or self._read_by_number(item):
                    continue
                self.position[item.grant] = at
            fresh.append(item)
        return fresh

    def _read_by_number(self, line: Line) -> bool:
        return self.after is not None and line.grant == self.after[0] and line.n <= self.after[1]

    def _whole(self, run: RunLog) -> bool:
        """Whether every attempt's last frame was seen; an attempt whose end no one saw is whole as it is."""
        for attempt in run.attempts:
            seen = self.assemblers.get(attempt.grant)
            following = (seen.next_seq or 0) if seen is not None else 0
            skipped = self.after is not None and attempt.grant < self.after[0]
            if attempt.expected_seq is not None and not skipped and following <= attempt.expected_seq:
                return False
        return True

    def _last(self, run: RunLog) -> list[Item]:
        """Lines without an end, and what never came."""
        rest: list[Item] = []
        for attempt in run.attempts:
            seen = self.assemblers.get(attempt.grant)
            if seen is None:
                continue
            rest += seen.finish()
            following = seen.next_seq or 0
            if attempt.expected_seq is not None and following <= attempt.expected_seq:
                rest.append(Gap(attempt.grant, following, attempt.expected_seq))
        return self._fresh(rest)
