"""The recorder of lineage: projects `.kirby.lineage` into tables, one at a time, rows and offset in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from kirby_common import failpoints
from kirby_common.ledger.tables import LineageEdge, LineageJoin, LineageProcess, LineageSpan, RecorderOffset, Run
from kirby_common.ledger.transitions import STARTED
from kirby_common.ports import Record, Start, Tail
from kirby_common.topics import LINEAGE
from sqlalchemy import ColumnElement, String, Table, cast, delete, exists, func, insert, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kirby_api.lineage.projection import LONG_AGO, MOST_MS, Edge, EdgeKey, Projected, SpanKey, Who, project
from kirby_api.lineage.told import Announced, Joined, ProcessTouched, Unreadable, by_partition, read_told
from kirby_api.standing_by import OffsetMoved, StillOurs, standing_by

log = structlog.get_logger()
_processes: Table = LineageProcess.__table__  # type: ignore[assignment]
_spans: Table = LineageSpan.__table__  # type: ignore[assignment]
_joins: Table = LineageJoin.__table__  # type: ignore[assignment]
_edges: Table = LineageEdge.__table__  # type: ignore[assignment]
_offsets: Table = RecorderOffset.__table__  # type: ignore[assignment]
_LOCK = 0x6C696E65  # "line": any number that no other lock of ours has
_PRUNE_EVERY = timedelta(hours=1)


class LineageRecorder:
    """`keep`: how long it is known what was made from what; where a message comes from stands in the message itself.

    There processes have only an id: who they were is known for `keep_processes`, or as long as something names them.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        tail: Tail,
        *,
        holder: UUID,
        keep: timedelta,
        keep_processes: timedelta,
        topic: str = LINEAGE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._engine = engine
        self._tail = tail
        self._holder = holder
        self._keep = keep
        self._keep_processes = keep_processes
        self._topic = topic
        self._now = now
        self._pruned_at = LONG_AGO

    async def run(self) -> None:
        """For ever; only one of the suite works at a time, the others stand by."""
        await standing_by(self._engine, self._record, lock=_LOCK, waiting="lineage.waiting")

    async def _record(self, still_ours: StillOurs) -> None:
        async with self._engine.connect() as tx:
            rows = await tx.execute(select(_offsets).where(_offsets.c.topic == self._topic))
            offsets = {(r.topic, r.partition): r.next_offset for r in rows}
        async for records in self._tail.records([self._topic], start=Start(at="beginning", offsets=offsets)):
            await still_ours()
            for some in by_partition(records):
                async with self._engine.begin() as tx:
                    await self._move(tx, some)
                    await take(tx, some)
                    await failpoints.hit("lineage.before_commit")
            await self._prune()

    async def _move(self, tx: AsyncConnection, records: Sequence[Record]) -> None:
        """Moves the offset, which locks its row until the transaction's end. Raises `OffsetMoved`."""
        first, last = records[0], records[-1]
        row = {"topic": first.topic, "partition": first.partition, "next_offset": last.offset + 1}
        moved = (
            pg_insert(_offsets)
            .values(holder=self._holder, **row)
            .on_conflict_do_update(
                index_elements=["topic", "partition"],
                set_={"next_offset": last.offset + 1, "holder": self._holder},
                where=_offsets.c.next_offset <= first.offset,
            )
            .returning(_offsets.c.next_offset)
        )
        if (await tx.execute(moved)).first() is None:
            raise OffsetMoved(f"{first.topic}[{first.partition}] is past {first.offset} already")

    async def _prune(self) -> None:
        now = self._now()
        if now - self._pruned_at < _PRUNE_EVERY:
            return
        self._pruned_at = now
        oldest_ms = round((now - self._keep).timestamp() * 1000)
        async with self._engine.begin() as tx:
            await tx.execute(delete(_spans).where(_spans.c.until_ms < oldest_ms))
            await tx.execute(delete(_joins).where(_joins.c.at_ms < oldest_ms))
            await tx.execute(delete(_edges).where(_edges.c.last_seen < now - self._keep))
            await tx.execute(delete(_processes).where(_processes.c.at < now - self._keep_processes, *_not_in_use()))


def _not_in_use() -> Sequence[ColumnElement[bool]]:
    """No span or join names the process, and its run is over: one that still runs is announced no second time."""
    running = select(cast(Run.id, String)).where(Run.status.in_(STARTED))
    named = [exists().where(table.c.process == _processes.c.process) for table in (_spans, _joins)]
    return [_processes.c.run_id.not_in(running), *(~one for one in named)]


async def take(tx: AsyncConnection, records: Sequence[Record]) -> None:
    """Projects records of one partition; what can't be read is left out."""
    told = _readable(records)
    touching = [m for m in told if isinstance(m, ProcessTouched)]
    processes = {bytes.fromhex(m.process) for m in touching}
    since_ms = min((touched.since_ms for m in touching for touched in m.touched), default=0)
    spans = await _newest(tx, processes, since_ms=since_ms - MOST_MS)
    await _write(tx, project(told, known=await _known(tx, processes), spans=spans))


def _readable(records: Sequence[Record]) -> list[Announced | Joined | ProcessTouched]:
    told = []
    for record in records:
        try:
            told.append(read_told(record))
        except Unreadable as error:
            log.warning("lineage.unreadable", partition=record.partition, offset=record.offset, reason=str(error))
    return told


async def _known(tx: AsyncConnection, processes: set[bytes]) -> Mapping[bytes, Who]:
    if not processes:
        return {}
    rows = await tx.execute(select(_processes).where(_processes.c.process.in_(processes)))
    return {r.process: Who(r.env, r.job or r.program, r.version, r.reads) for r in rows}


async def _newest(tx: AsyncConnection, processes: set[bytes], *, since_ms: int) -> dict[SpanKey, dict[str, Any]]:
    """The newest span of each key, of those that may still be extended."""
    if not processes:
        return {}
    columns = [_spans.c[name] for name in ("process", "direction", "kind", "name", "partition")]
    mine = _spans.c.process.in_(processes) & (_spans.c.until_ms >= since_ms)
    newest = select(_spans).where(mine).order_by(*columns, _spans.c.id.desc()).ext(distinct_on(*columns))
    return {
        (r.process, r.direction, r.kind, r.name, r.partition): {**r._mapping, "changed": False}
        for r in await tx.execute(newest)
    }


async def _write(tx: AsyncConnection, made: Projected) -> None:
    if made.processes:
        await tx.execute(pg_insert(_processes).on_conflict_do_nothing(), made.processes)
    if made.joins:
        await tx.execute(pg_insert(_joins).on_conflict_do_nothing(), made.joins)
    changed = [row for row in [*made.full, *made.spans.values()] if row.pop("changed")]
    fresh = [{name: value for name, value in row.items() if name != "id"} for row in changed if row["id"] is None]
    if fresh:
        await tx.execute(insert(_spans), fresh)
    for row in changed:
        if row["id"] is not None:
            await tx.execute(update(_spans).where(_spans.c.id == row["id"]).values(**row))
    if made.edges:
        await add_edges(tx, made.edges)


async def add_edges(tx: AsyncConnection, edges: Mapping[EdgeKey, Edge], *, told_by: str = "") -> None:
    """Adds to the edges, in one order, so that two who do so don't wait for each other."""
    names = ("env", "job", "version", "direction", "kind", "name")
    rows = [
        dict(zip(names, key, strict=True))
        | {"told_by": told_by, "count": edge.count, "first_seen": edge.last_seen, "last_seen": edge.last_seen}
        for key, edge in sorted(edges.items())
    ]
    statement = pg_insert(_edges)
    added = statement.on_conflict_do_update(
        index_elements=[*names, "told_by"],
        set_={
            "count": _edges.c.count + statement.excluded.count,
            "last_seen": func.greatest(_edges.c.last_seen, statement.excluded.last_seen),
        },
    )
    await tx.execute(added, rows)
