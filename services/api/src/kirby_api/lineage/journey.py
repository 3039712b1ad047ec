"""A message's journey: back to its sources by its header, and forward by what processes have told."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kirby import lineage
from kirby_common.ports import Record
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from kirby_api.lineage import query
from kirby_api.lineage.finding import MOST_LOOKED_AT, look, wanted_in, wanted_of
from kirby_api.lineage.query import Sight
from kirby_api.lineage.view import Hop, InputRange, Journey, MessagePlace, Touch
from kirby_api.logs.ports import Bounds
from kirby_api.messages.ports import Messages
from kirby_api.messages.reading import TopicRef

MOST_SOURCES = 32
"""Of messages that met others, so many are followed back."""
MOST_TOUCHED = 200
Where = tuple[str, int, int]


@dataclass
class Traveller:
    """Follows one message. Reads the tables and the topics; never waits for what is not there."""

    sessions: async_sessionmaker[AsyncSession]
    messages: Messages
    seen: Sight
    more: bool = False
    expired: bool = False
    _followed: int = 0
    _looked: int = 0

    async def journey(self, ref: TopicRef, record: Record, *, forward: bool = True) -> Journey:
        """All about the message. Raises `BusUnavailable`."""
        packed = record.headers.get(lineage.HEADER)
        known = None if packed is None else lineage.unpack(packed)
        hops = [] if known is None else await self._back(record, known)
        touched = await self._forward((record.topic, record.partition, record.offset)) if forward else []
        return Journey(
            topic=record.topic,
            env=ref.env,
            partition=record.partition,
            offset=record.offset,
            place=f"{record.partition}:{record.offset}",
            at=_moment(record.timestamp_ms),
            trace=None if known is None else known.trace.hex(),
            rerun=known is not None and known.rerun,
            origin=(known.origin or None) if known is not None else None,
            dropped=0 if known is None else known.dropped,
            hops=hops,
            touched=touched,
            more=self.more,
            expired=self.expired,
        )

    async def _back(self, record: Record, known: lineage.Lineage) -> list[Hop]:
        """Its own hops, and those of messages that met in it, oldest first."""
        found: dict[tuple[Any, ...], Hop] = {}
        left = deque([(record, known)])
        while left:
            here, header = left.popleft()
            hops = await self._hops_of(here, header)
            for hop in reversed(hops):
                key = (hop.process, hop.output.topic, hop.output.partition, hop.output.offset)
                found.setdefault(key, hop)
            if header.joined and not header.dropped:
                left += await self._sources(hops[0].inputs)
        return list(reversed(found.values()))

    async def _sources(self, inputs: Sequence[InputRange]) -> list[tuple[Record, lineage.Lineage]]:
        """Of each range the first message that is still there, to be followed back in its turn."""
        sources = []
        for met in inputs:
            if self._followed >= MOST_SOURCES:
                self.more = True
                break
            self._followed += 1
            record = await self._one(met)
            packed = None if record is None else record.headers.get(lineage.HEADER)
            known = None if packed is None else lineage.unpack(packed)
            if record is not None and known is not None:
                sources.append((record, known))
        return sources

    async def _hops_of(self, record: Record, known: lineage.Lineage) -> list[Hop]:
        """Oldest first. What a hop wrote is what the next one read."""
        async with self.sessions() as db:
            rows = await query.processes(db, {hop.process for hop in known.hops})
            met = await query.joins_of(db, known.trace) if known.joined else ()
        wheres: list[Where | None] = [
            None if (row := rows.get(hop.process)) is None else (row.reads, hop.partition, hop.offset)
            for hop in known.hops
        ]
        outputs = [*wheres[1:], (record.topic, record.partition, record.offset)]
        times = await self._times([w for w in outputs[:-1] if w is not None])
        times[record.topic, record.partition, record.offset] = record.timestamp_ms
        hops = []
        for number, (hop, output) in enumerate(zip(known.hops, outputs, strict=True)):
            following = known.hops[number + 1] if number + 1 < len(known.hops) else None
            made = following or lineage.Hop(b"", record.partition, record.offset)
            hops.append(
                Hop(
                    **query.maker(hop.process, rows.get(hop.process), self.seen),
                    inputs=self._inputs(hop, wheres[number], met if number == 0 else ()),
                    output=self._place(output, made, times),
                )
            )
        return hops

    def _inputs(self, hop: lineage.Hop, where: Where | None, met: Sequence[Any]) -> list[InputRange]:
        if hop.partition == lineage.NO_INPUT:
            return [
                InputRange(topic=self._shown(r.topic), partition=r.partition, from_=r.from_offset, to=r.to_offset)
                for r in met
            ]
        topic = None if where is None else self._shown(where[0])
        return [InputRange(topic=topic, partition=hop.partition, from_=hop.offset, to=hop.offset + 1)]

    def _place(self, where: Where | None, hop: lineage.Hop, times: dict[Where, int]) -> MessagePlace:
        at_ms = None if where is None else times.get(where)
        return MessagePlace(
            topic=None if where is None else self._shown(where[0]),
            partition=hop.partition,
            offset=hop.offset,
            place=f"{hop.partition}:{hop.offset}",
            at=None if at_ms is None else _moment(at_ms),
        )

    def _shown(self, topic: str) -> str | None:
        return topic if self.seen.topic(topic) else None

    async def _times(self, wheres: Sequence[Where]) -> dict[Where, int]:
        """When these messages were written; those that are not kept any more are left out."""
        times: dict[Where, int] = {}
        left = set(wheres)
        bounds = await self.messages.bounds(sorted({topic for topic, _, _ in left})) if left else {}
        left = {w for w in left if (b := bounds.get(w[:2])) is not None and b.begin <= w[2] < b.end}
        while left:
            # One of each partition at a time.
            some = {where[:2]: where for where in left}
            left -= set(some.values())
            spans = {p: Bounds(offset, offset + 1) for p, (_, _, offset) in some.items()}
            async for records in self.messages.read(spans):
                times |= {(r.topic, r.partition, r.offset): r.timestamp_ms for r in records}
        return times

    async def _one(self, met: InputRange) -> Record | None:
        """The first message of a range that is still there."""
        if met.topic is None:
            return None
        bounds = (await self.messages.bounds([met.topic])).get((met.topic, met.partition))
        if bounds is None:
            return None
        span = Bounds(max(met.from_, bounds.begin), min(met.to, bounds.end))
        async for records in self.messages.read({(met.topic, met.partition): span}):
            if records:
                return records[0]
        return None

    async def _forward(self, start: Where) -> list[Touch]:
        """Breadth first; a message that was met already is not followed again, so a cycle ends."""
        touched: list[Touch] = []
        left, met = deque([start]), {start}
        while left and len(touched) < MOST_TOUCHED:
            here = left.popleft()
            for touch in await self._touches_of(here):
                made = touch.message
                where = (touch.name, made.partition, made.offset) if made is not None else None
                if where in met and where is not None:
                    continue
                touched.append(touch)
                if where is not None:
                    met.add(where)
                    left.append(where)
        self.more = self.more or bool(left)
        return touched[:MOST_TOUCHED]

    async def _touches_of(self, where: Where) -> list[Touch]:
        async with self.sessions() as db:
            alone = [(span, None) for span in await query.spans_over(db, *where)]
            joins = await query.joins_over(db, *where)
            together = [
                (span, join) for join in joins for span in await query.spans_after(db, join.process, join.at_ms)
            ]
            rows = await query.processes(db, {span.process for span, _ in [*alone, *together]})
        touches = []
        for span, join in [*alone, *together]:
            by = query.maker(span.process, rows.get(span.process), self.seen)
            if span.kind != "topic":
                touches.append(self._else(span, where, by))
            elif self.seen.topic(span.name):
                touches += await self._messages_of(span, join, where, by)
        return touches

    def _else(self, span: Any, where: Where, by: dict[str, Any]) -> Touch:
        exact = span.partition != lineage.NO_INPUT and span.to_offset - span.from_offset == 1
        at = _moment(span.until_ms)
        return Touch(**by, of=_message(where), kind=span.kind, name=span.name, at=at, exact=exact)

    async def _messages_of(self, span: Any, join: Any, where: Where, by: dict[str, Any]) -> list[Touch]:
        left = MOST_LOOKED_AT - self._looked
        if left <= 0:
            self.more = True
            return []
        wanted = wanted_of(span, where[2]) if join is None else wanted_in(span, join.trace, since_ms=join.at_ms)
        looked = await look(self.messages, wanted, most=left)
        self._looked += looked.records
        self.more = self.more or not looked.all
        self.expired = self.expired or looked.expired
        return [
            Touch(
                **by,
                of=_message(where),
                kind="topic",
                name=record.topic,
                message=_message((record.topic, record.partition, record.offset), record.timestamp_ms),
                at=_moment(record.timestamp_ms),
            )
            for record in looked.found
        ]


def _message(where: Where, at_ms: int | None = None) -> MessagePlace:
    topic, partition, offset = where
    at = None if at_ms is None else _moment(at_ms)
    return MessagePlace(topic=topic, partition=partition, offset=offset, place=f"{partition}:{offset}", at=at)


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
