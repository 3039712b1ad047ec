"""The recorder: projects where each attempt's log lies from `.kirby.logs` into pointer rows.

One recorder per partition at a time (an advisory lock); pointers and the offset move in one transaction.
"""

from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog
from kirby_common import failpoints
from kirby_common.ledger.tables import LogPointer, RecorderOffset
from kirby_common.ports import Record, Start, Tail
from kirby_common.topics import LOGS
from sqlalchemy import Table, insert, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kirby_api.ledger_role.chunks import Chunk, Unreadable, read_chunk
from kirby_api.standing_by import OffsetMoved, StillOurs, standing_by

log = structlog.get_logger()
_pointers: Table = LogPointer.__table__  # type: ignore[assignment]
_offsets: Table = RecorderOffset.__table__  # type: ignore[assignment]
_LOCK = 0x72656364  # "recd": any number that no other lock of ours has

MAX_LINES = 1000
MAX_SPAN = timedelta(seconds=60)


class Recorder:
    def __init__(self, engine: AsyncEngine, tail: Tail, *, holder: UUID, topic: str = LOGS) -> None:
        self._engine = engine
        self._tail = tail
        self._holder = holder
        self._topic = topic

    async def run(self) -> None:
        """Projects for ever; only one recorder of the suite does at a time, the others stand by."""
        await standing_by(self._engine, self._project, lock=_LOCK, waiting="recorder.waiting")

    async def _project(self, still_ours: StillOurs) -> None:
        offsets = await self._known_offsets()
        async for records in self._tail.records([self._topic], start=Start(at="beginning", offsets=offsets)):
            await still_ours()
            async with self._engine.begin() as tx:
                await self._take(tx, records)
                await failpoints.hit("recorder.before_commit")

    async def _known_offsets(self) -> dict[tuple[str, int], int]:
        async with self._engine.connect() as tx:
            rows = await tx.execute(select(_offsets).where(_offsets.c.topic == self._topic))
            return {(r.topic, r.partition): r.next_offset for r in rows}

    async def _take(self, tx: AsyncConnection, records: Sequence[Record]) -> None:
        by_attempt: dict[tuple[UUID, int], list[Chunk]] = {}
        for record in records:
            try:
                chunk = read_chunk(record)
            except Unreadable as error:
                log.warning("recorder.unreadable", offset=record.offset, reason=str(error))
                continue
            by_attempt.setdefault((chunk.run_id, chunk.grant), []).append(chunk)
        for (run_id, grant), chunks in by_attempt.items():
            await _point(tx, run_id, grant, chunks)
        await self._move(tx, records)

    async def _move(self, tx: AsyncConnection, records: Sequence[Record]) -> None:
        first, last = records[0], records[-1]
        row = {"topic": first.topic, "partition": first.partition, "next_offset": last.offset + 1}
        statement = pg_insert(_offsets).values(holder=self._holder, **row)
        moved = statement.on_conflict_do_update(
            index_elements=["topic", "partition"],
            set_={"next_offset": last.offset + 1, "holder": self._holder},
            where=_offsets.c.next_offset <= first.offset,
        ).returning(_offsets.c.next_offset)
        if (await tx.execute(moved)).first() is None:
            raise OffsetMoved(f"{first.topic}[{first.partition}] is past {first.offset} already")


async def _point(tx: AsyncConnection, run_id: UUID, grant: int, chunks: Sequence[Chunk]) -> None:
    """Extends the attempt's pointer rows by these chunks; what they already cover is left out."""
    mine = (_pointers.c.run_id == run_id) & (_pointers.c.grant_no == grant)
    rows: list[dict[str, Any]] = [
        dict(r._mapping) for r in await tx.execute(select(_pointers).where(mine).order_by(_pointers.c.first_seq))
    ]
    changed: set[int] = set()
    fresh: list[dict[str, Any]] = []
    for sent in chunks:
        chunk = sent.without(lambda seq: any(r["first_seq"] <= seq <= r["last_seq"] for r in rows))
        if chunk is None:
            continue
        before = next((r for r in rows if r["last_seq"] + 1 == chunk.first_seq), None)
        if before is not None and _room(before, chunk):
            _extend(before, chunk)
            changed.add(before["first_seq"])
        else:
            row = _new_row(run_id, grant, chunk)
            rows.append(row)
            fresh.append(row)
    new = {r["first_seq"] for r in fresh}
    if fresh:
        await tx.execute(insert(_pointers), fresh)
    for row in rows:
        if row["first_seq"] in changed - new:
            await tx.execute(update(_pointers).where(mine, _pointers.c.first_seq == row["first_seq"]).values(**row))


def _room(row: dict[str, Any], chunk: Chunk) -> bool:
    fits = row["lines"] < MAX_LINES and chunk.at - row["first_at"] < MAX_SPAN
    return bool(fits and row["partition"] == chunk.partition and row["last_offset"] < chunk.offset)


def _extend(row: dict[str, Any], chunk: Chunk) -> None:
    row["last_seq"] = chunk.last_seq
    row["last_offset"] = chunk.offset
    row["lines"] += chunk.lines
    row["bytes"] += chunk.bytes
    row["digest"] = chained(row["digest"], chunk.sha256)
    row["complete"] = row["complete"] or chunk.complete
    row["last_at"] = chunk.at


def _new_row(run_id: UUID, grant: int, chunk: Chunk) -> dict[str, Any]:
    return {
        "run_id": run_id, "grant_no": grant, "first_seq": chunk.first_seq, "last_seq": chunk.last_seq,
        "topic": chunk.topic, "partition": chunk.partition, "first_offset": chunk.offset,
        "last_offset": chunk.offset, "first_line": chunk.first_line, "lines": chunk.lines, "bytes": chunk.bytes,
        "digest": chained("", chunk.sha256), "complete": chunk.complete, "first_at": chunk.at, "last_at": chunk.at,
    }  # fmt: skip


def chained(before: str, digest: str) -> str:
    """The digest of a row extended by a chunk: a chain over the chunks' own digests."""
    return sha256(f"{before}{digest}".encode()).hexdigest()
