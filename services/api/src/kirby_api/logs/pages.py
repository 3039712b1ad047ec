"""Pages of a stored log: by line number, or the last lines; all of them, or those that match."""

import asyncio
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, field
from heapq import nsmallest

from kirby_api.logs.attempts import AttemptLog, RunLog
from kirby_api.logs.history import AttemptReader, Where, pointer_of_line, pointer_of_tail
from kirby_api.logs.lines import Assembler, Gap, Line
from kirby_api.logs.ports import LogStore

_LOOK_S = 2.0
"""A search answers after this long, with a cursor to go on from."""


@dataclass(frozen=True)
class LineFilter:
    stream: str | None = None
    levels: frozenset[str] | None = None
    text: str | None = None

    @property
    def passes_all(self) -> bool:
        return self.stream is None and self.levels is None and self.text is None

    def passes(self, line: Line) -> bool:
        if self.stream is not None and line.stream != self.stream:
            return False
        if self.levels is not None and line.level not in self.levels:
            return False
        return self.text is None or self.text in line.text.lower()


@dataclass
class Found:
    """A page. `next_after` is (grant, line) to go on from, None at the end of what there is."""

    lines: list[Line] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    next_after: tuple[int, int] | None = None
    highest: int = 0
    behind: bool = False
    """The shim counted more than Kafka has by now."""


async def page_after(
    store: LogStore, run: RunLog, where: Where, *, grants: list[int], after: int, limit: int, wanted: LineFilter
) -> Found:
    """The lines after line `after` of the first grant, then of the others, up to `limit`."""
    page = Found()
    for position, grant in enumerate(grants):
        attempt = run.of(grant)
        if attempt is None:
            continue
        room = limit - len(page.lines)
        begin = after if position == 0 else 0
        rest = await _of_attempt(store, run, attempt, where, page, after=begin, room=room, wanted=wanted)
        if rest is not None:
            page.next_after = (grant, rest)
            return page
        if len(page.lines) >= limit and position + 1 < len(grants):
            page.next_after = (grants[position + 1], 0)
            return page
    return page


async def _of_attempt(
    store: LogStore,
    run: RunLog,
    attempt: AttemptLog,
    where: Where,
    page: Found,
    *,
    after: int,
    room: int,
    wanted: LineFilter,
) -> int | None:
    """Adds the attempt's lines to the page; the line to go on after, or None when there are no more."""
    reader = AttemptReader(store, run, attempt, where, from_pointer=pointer_of_line(attempt, after + 1))
    assembler = reader.assembler
    matches: list[Line] = []
    deadline = asyncio.get_running_loop().time() + _LOOK_S
    whole = True
    settled = 0
    async with aclosing(reader.batches()) as batches:
        async for batch in batches:
            page.gaps += [item for item in batch if isinstance(item, Gap)]
            matches += [i for i in batch if isinstance(i, Line) and i.n > after and wanted.passes(i)]
            settled = min(assembler.lowest_open or assembler.highest + 1, assembler.highest + 1) - 1
            enough = len(matches) > room and sum(1 for line in matches if line.n <= settled) > room
            if enough or (not wanted.passes_all and asyncio.get_running_loop().time() > deadline):
                whole = False
                break
    page.highest = max(attempt.last_line, assembler.highest)
    page.behind = page.behind or (whole and _behind(attempt, assembler))
    if whole:
        matches += [i for i in assembler.unfinished() if i.n > after and wanted.passes(i)]
        settled = assembler.highest
    chosen = nsmallest(room, (line for line in matches if line.n <= settled), key=lambda line: line.n)
    page.lines += chosen
    if len(chosen) == room and (len(matches) > room or not whole):
        return chosen[-1].n if chosen else after
    return None if whole else max(settled, after)


async def last_lines(
    store: LogStore, run: RunLog, where: Where, *, grants: list[int], count: int, wanted: LineFilter
) -> Found:
    """The last `count` lines of the grants that match."""
    page = Found()
    kept: list[Line] = []
    for grant in reversed(grants):
        attempt = run.of(grant)
        if attempt is None:
            continue
        room = count - len(kept)
        start = pointer_of_tail(attempt, room + 50) if wanted.passes_all else 0
        reader = AttemptReader(store, run, attempt, where, from_pointer=start)
        newest: deque[Line] = deque(maxlen=room + 50)
        async for batch in reader.batches():
            page.gaps += [item for item in batch if isinstance(item, Gap)]
            newest += [i for i in batch if isinstance(i, Line) and wanted.passes(i)]
        newest += [i for i in reader.assembler.unfinished() if wanted.passes(i)]
        page.highest = max(page.highest, attempt.last_line, reader.assembler.highest)
        page.behind = page.behind or _behind(attempt, reader.assembler)
        kept = sorted(newest, key=lambda line: line.n)[-room:] + kept
        if len(kept) >= count:
            break
    page.lines = kept
    return page


def _behind(attempt: AttemptLog, assembler: Assembler) -> bool:
    return attempt.expected_seq is not None and (assembler.next_seq or 0) <= attempt.expected_seq
