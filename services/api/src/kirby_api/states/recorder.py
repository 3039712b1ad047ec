"""The recorder of States: folds their logs into tables, and tells what it has folded in their `.latest` topics.

One recorder per partition at a time: rows and offset move in one transaction, which fails when the offset has moved
meanwhile. So whatever is read twice, or by two recorders, is folded once. `.latest` is written from the tables, from
where it was last told, so that what a crash leaves out is told by whoever comes next; told twice does no harm.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import structlog
from kirby.state.records import (
    POSITION_KEY,
    Latest,
    UnknownRule,
    Value,
    encode_latest,
    encode_position,
    latest_topic,
    memory_from,
    name_of,
)
from kirby.state.rule import Memory
from kirby_common.ledger.tables import StateKey, StateLog, StateOffset, StateVersion
from sqlalchemy import Table, insert, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kirby_api.standing_by import OffsetMoved, StillOurs, standing_by
from kirby_api.states.ports import LatestTopics, StateLogs, Stretch
from kirby_api.states.projection import PartitionsChanged, decode, fold_stretch, key_row

log = structlog.get_logger()
_logs: Table = StateLog.__table__  # type: ignore[assignment]
_offsets: Table = StateOffset.__table__  # type: ignore[assignment]
_keys: Table = StateKey.__table__  # type: ignore[assignment]
_versions: Table = StateVersion.__table__  # type: ignore[assignment]
_LOCK = 0x73746174  # "stat": any number that no other lock of ours has
_TOLD_AT_ONCE = 1000
Place = tuple[str, int]


class StateRecorder:
    """`every_s`: how long after a mutation it is told in `.latest`, and a new State is found, at the latest."""

    def __init__(self, engine: AsyncEngine, logs: StateLogs, latest: LatestTopics, *, every_s: float = 1.0) -> None:
        self._engine = engine
        self._logs = logs
        self._latest = latest
        self._every_s = every_s
        self._made: set[str] = set()

    async def run(self) -> None:
        """For ever; only one recorder of the suite works at a time, the others stand by."""
        await standing_by(self._engine, self._record, lock=_LOCK, waiting="states.waiting", every_s=self._every_s)

    async def _record(self, still_ours: StillOurs) -> None:
        """Until there is another State to read, or one less, or one is to be folded anew."""
        partitions = await self._known_logs()
        offsets = await self._known_offsets(partitions)
        clock = asyncio.get_running_loop().time
        told_at = clock()
        async for stretch in self._logs.read(offsets):
            if stretch is not None and not await self._take(stretch, partitions[stretch.topic], offsets):
                return
            if clock() - told_at < self._every_s:
                continue
            await still_ours()
            await self.tell(partitions)
            told_at = clock()
            if await self._known_logs() != partitions or await self._known_offsets(partitions) != offsets:
                return

    async def _known_logs(self) -> dict[str, int]:
        """The logs to read, each with its partitions; those new to us get their rows."""
        found = await self._logs.found()
        async with self._engine.begin() as tx:
            rows = {row.topic: row for row in await tx.execute(select(_logs))}
            for topic, there in found.items():
                if topic not in rows:
                    prefix, name = name_of(topic) or ("", "")
                    row = pg_insert(_logs).values(topic=topic, prefix=prefix, name=name, **asdict(there))
                    await tx.execute(row.on_conflict_do_nothing())
                    continue
                if rows[topic].owned != there.owned:
                    await tx.execute(update(_logs).where(_logs.c.topic == topic).values(owned=there.owned))
                if rows[topic].partitions != there.partitions and not rows[topic].problem:
                    changed = PartitionsChanged(topic, now=there.partitions, before=rows[topic].partitions)
                    await tx.execute(update(_logs).where(_logs.c.topic == topic).values(problem=str(changed)))
                    log.error("states.stopped", topic=topic, reason=str(changed))
            sound = await tx.execute(select(_logs.c.topic, _logs.c.partitions).where(_logs.c.problem.is_(None)))
            return {topic: count for topic, count in sound if topic in found}

    async def _known_offsets(self, partitions: Mapping[str, int]) -> dict[Place, int]:
        wanted = [{"topic": topic, "partition": n} for topic, count in partitions.items() for n in range(count)]
        if not wanted:
            return {}
        async with self._engine.begin() as tx:
            await tx.execute(pg_insert(_offsets).on_conflict_do_nothing(), wanted)
            rows = await tx.execute(select(_offsets).where(_offsets.c.topic.in_(partitions)))
            return {(r.topic, r.partition): r.next_offset for r in rows if r.partition < partitions[r.topic]}

    async def _take(self, stretch: Stretch, partitions: int, offsets: dict[Place, int]) -> bool:
        """False when the State's log can't be read any further."""
        place = (stretch.topic, stretch.partition)
        try:
            decoded = decode(stretch.records, partitions=partitions)
        except (UnknownRule, PartitionsChanged) as error:
            async with self._engine.begin() as tx:
                await tx.execute(update(_logs).where(_logs.c.topic == stretch.topic).values(problem=str(error)))
            log.error("states.stopped", topic=stretch.topic, reason=str(error))
            return False
        for offset, reason in decoded.skipped:
            log.warning("states.skipped", topic=stretch.topic, partition=stretch.partition, offset=offset, why=reason)
        async with self._engine.begin() as tx:
            await _move(tx, place, offsets[place], stretch.next_offset)
            folding = fold_stretch(decoded, await _memories(tx, stretch.topic, decoded.keys))
            if folding.versions:
                await tx.execute(insert(_versions), folding.versions)
            if folding.memories:
                await _remember(tx, [key_row(*place, key, memory) for key, memory in folding.memories.items()])
        offsets[place] = stretch.next_offset
        return True

    async def tell(self, partitions: Mapping[str, int]) -> None:
        """Writes to `.latest` what has been folded since it was last told."""
        for topic, count in partitions.items():
            prefix, name = name_of(topic) or ("", "")
            target = latest_topic(name, prefix=prefix)
            if target not in self._made:
                if await self._latest.make(target, partitions=count):
                    async with self._engine.begin() as tx:
                        await tx.execute(update(_offsets).where(_offsets.c.topic == topic).values(told_offset=0))
                self._made.add(target)
        async with self._engine.connect() as tx:
            behind = (await tx.execute(select(_offsets).where(_offsets.c.told_offset < _offsets.c.next_offset))).all()
        for row in behind:
            if row.topic in partitions and row.partition < partitions[row.topic]:
                await self._tell_partition(row.topic, row.partition, row.told_offset, row.next_offset)

    async def _tell_partition(self, topic: str, partition: int, told: int, upto: int) -> None:
        """Keys in the order of their last mutation; the position goes last, when all below it are told."""
        prefix, name = name_of(topic) or ("", "")
        target = latest_topic(name, prefix=prefix)
        while True:
            async with self._engine.connect() as tx:
                rows = (await tx.execute(_told_since(topic, partition, told))).all()
            records = [(row.key.encode(), encode_latest(_latest_of(row))) for row in rows]
            done = len(rows) < _TOLD_AT_ONCE
            if done:
                records.append((POSITION_KEY, encode_position(upto)))
            await self._latest.write(target, partition, records)
            told = upto if done else rows[-1].last_offset + 1
            async with self._engine.begin() as tx:
                here = (_offsets.c.topic == topic) & (_offsets.c.partition == partition)
                # A rebuild that began meanwhile has set both back.
                moved = update(_offsets).where(here, _offsets.c.next_offset >= told).values(told_offset=told)
                await tx.execute(moved)
            if done:
                return


def _told_since(topic: str, partition: int, told: int) -> Any:
    newest = (_versions.c.topic == _keys.c.topic) & (_versions.c.key == _keys.c.key)
    newest &= _versions.c.version == _keys.c.version
    columns = (_versions.c.value, _versions.c.content_type, _versions.c.stored, _versions.c.by, _versions.c.at)
    return (
        select(_keys, *columns)
        .outerjoin(_versions, newest)
        .where(_keys.c.topic == topic, _keys.c.partition == partition, _keys.c.last_offset >= told)
        .order_by(_keys.c.last_offset)
        .limit(_TOLD_AT_ONCE)
    )


def _latest_of(row: Any) -> Latest:
    """Of a key that has had conflicts only, there is a memory and nothing else."""
    value = None if row.value is None else Value(row.value, row.content_type, row.stored)
    at_ms = 0 if row.at is None else round(row.at.timestamp() * 1000)
    return Latest(_memory_of(row), value, row.by or "", at_ms)


def _memory_of(row: Any) -> Memory:
    form = {"version": row.version, "offset": row.last_offset, "value_offset": row.value_offset, "recent": row.recent}
    return memory_from(form)


async def _memories(tx: AsyncConnection, topic: str, keys: set[str]) -> dict[str, Memory]:
    if not keys:
        return {}
    rows = await tx.execute(select(_keys).where(_keys.c.topic == topic, _keys.c.key.in_(keys)))
    return {row.key: _memory_of(row) for row in rows}


async def _remember(tx: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    statement = pg_insert(_keys)
    names = ("version", "last_offset", "value_offset", "recent")
    changed = {name: statement.excluded[name] for name in names}
    await tx.execute(statement.on_conflict_do_update(index_elements=["topic", "key"], set_=changed), rows)


async def _move(tx: AsyncConnection, place: Place, before: int, after: int) -> None:
    """Moves the offset, which locks its row until the transaction's end. Raises `OffsetMoved`."""
    here = (_offsets.c.topic == place[0]) & (_offsets.c.partition == place[1])
    moved = update(_offsets).where(here, _offsets.c.next_offset == before).values(next_offset=after)
    if (await tx.execute(moved)).rowcount != 1:
        raise OffsetMoved(f"{place[0]}[{place[1]}] is not at {before} any more")
