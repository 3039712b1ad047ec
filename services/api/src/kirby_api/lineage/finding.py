"""Finding messages by their headers, where the sums of the processes say to look."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from kirby import lineage
from kirby_common.ports import Record

from kirby_api.logs.ports import Bounds
from kirby_api.messages.ports import Messages, Partition

SLACK_MS = 5000
"""How much later than it was sent a message may lie behind others of the topic: a repeated delivery, another clock."""
MOST_LOOKED_AT = 200_000


@dataclass(frozen=True)
class Wanted:
    """The messages of a topic that one process has made from one message, or in one trace.

    `count` messages were sent by the process from that input, all between `since_ms` and `until_ms`: with the last of
    them the search ends. `source`: the first 12 bytes of their last hop; `hop` all of it, or `trace` their trace.
    """

    topic: str
    source: bytes
    hop: bytes | None
    trace: bytes | None
    first: int
    beyond: int
    count: int
    since_ms: int
    until_ms: int

    def covers(self, header: bytes) -> bool:
        """Whether the process made it from one of the span's messages."""
        if header[-20:-8] != self.source:
            return False
        offset = int.from_bytes(header[-8:], "big", signed=True)
        return self.first <= offset < self.beyond or offset == self.first

    def is_it(self, header: bytes) -> bool:
        return header[-20:] == self.hop if self.trace is None else header[4:20] == self.trace


@dataclass
class Looked:
    """What was found, and how many records were looked at.

    `expired`: not all that was sent is there, and the topic does not begin at its beginning any more.
    """

    found: list[Record]
    records: int = 0
    all: bool = True
    expired: bool = False


def wanted_of(span: Any, offset: int) -> Wanted:
    """Those that a span's process has made from the message with this offset."""
    return _wanted(span, hop=lineage.pack_hop(span.process, span.partition, offset), trace=None)


def wanted_in(span: Any, trace: bytes, *, since_ms: int) -> Wanted:
    """Those of a trace, which began at `since_ms`: then fewer than the span's count may come."""
    return _wanted(span, hop=None, trace=trace, since_ms=since_ms)


async def look(messages: Messages, wanted: Wanted, *, most: int = MOST_LOOKED_AT) -> Looked:
    """Reads where they lie, and only if some are missing there a little further. Raises `BusUnavailable`."""
    bounds = await messages.bounds([wanted.topic])
    starts = await messages.offsets_at(dict.fromkeys(bounds, wanted.since_ms))
    first, looking = starts, _Looking(messages, wanted, most)
    for until_ms in (wanted.until_ms + 1, wanted.until_ms + SLACK_MS):
        ends = await messages.offsets_at(dict.fromkeys(bounds, until_ms))
        spans = {p: Bounds(starts[p], ends.get(p, bounds[p].end)) for p in starts}
        if await looking.over(spans):
            break
        starts = {p: max(starts[p], span.end) for p, span in spans.items()}
    looked = looking.looked
    looked.expired = looking.left > 0 and looked.all and any(_lost_some(bounds[p], first.get(p)) for p in bounds)
    return looked


class _Looking:
    """A search over several stretches."""

    def __init__(self, messages: Messages, wanted: Wanted, most: int) -> None:
        self.looked = Looked([])
        self.left = wanted.count
        self._messages = messages
        self._wanted = wanted
        self._most = most

    async def over(self, spans: Mapping[Partition, Bounds]) -> bool:
        """Whether there is nothing more to be looked for."""
        looked, is_it = self.looked, self._wanted.is_it
        async with aclosing(self._messages.find(spans, self._wanted.covers)) as finding:
            async for count, matches in finding:
                looked.records += count
                self.left -= len(matches)
                looked.found += [record for record in matches if is_it(record.headers[lineage.HEADER])]
                if self.left <= 0:
                    return True
                if looked.records >= self._most:
                    looked.all = False
                    return True
        return False


def _lost_some(kept: Bounds, start: int | None) -> bool:
    """Whether records at `start` or after it (None: there are none) may have been deleted by the retention."""
    return kept.begin > 0 and (kept.begin == kept.end if start is None else start <= kept.begin)


def _wanted(span: Any, *, hop: bytes | None, trace: bytes | None, since_ms: int | None = None) -> Wanted:
    return Wanted(
        topic=span.name,
        source=lineage.pack_hop(span.process, span.partition, 0)[:12],
        hop=hop,
        trace=trace,
        first=span.from_offset,
        beyond=span.to_offset,
        count=span.count,
        since_ms=span.since_ms if since_ms is None else max(since_ms, span.since_ms),
        until_ms=span.until_ms,
    )
