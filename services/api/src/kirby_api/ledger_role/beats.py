"""Beats: a worker's sign of life for itself and each of its attempts; the answer carries orders and spool acks."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from kirby_common.ledger.attempts import attempts
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.runs import runs
from kirby_common.ledger.tables import LogPointer
from kirby_common.worker_protocol import BeatAnswer, BeatRequest, Order, RunRef, SpoolAck
from sqlalchemy import Row, Table, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from kirby_api.ledger_role.finding import find_beating
from kirby_api.ledger_role.workers import Caller, Gone, workers

_pointers: Table = LogPointer.__table__  # type: ignore[assignment]

_BEAT = text(
    # Taken in order: a report on some of them at the same time would else wait for us, and we for it.
    "WITH mine AS (SELECT run_id, grant_no FROM attempts WHERE incarnation = :incarnation AND open"
    "  AND (run_id, grant_no) IN (SELECT * FROM unnest(CAST(:runs AS uuid[]), CAST(:grants AS bigint[])))"
    "  ORDER BY run_id, grant_no FOR UPDATE)"
    " UPDATE attempts a SET beat = a.beat + 1 FROM mine WHERE (a.run_id, a.grant_no) = (mine.run_id, mine.grant_no)"
    " RETURNING a.run_id, a.grant_no"
)


async def beat(tx: AsyncConnection, caller: Caller, request: BeatRequest) -> BeatAnswer:
    """Writes the beat down. Raises `Gone`."""
    worker = await _worker_beat(tx, caller, request)
    alive = await _attempt_beats(tx, caller, request)
    silent = [(a.run_id, a.grant) for a in request.attempts if (a.run_id, a.grant) not in alive]
    alive |= await find_beating(tx, worker=caller.name, incarnation=caller.incarnation, silent=silent)
    orders = await _orders(tx, request, alive)
    if worker.draining:
        orders.append(Order(kind="drain"))
    return BeatAnswer(orders=orders, spools=await _acks(tx, request.spools))


async def _worker_beat(tx: AsyncConnection, caller: Caller, request: BeatRequest) -> Row[Any]:
    now = await database_now(tx)
    gap = text("greatest(max_beat_gap_ms, extract(epoch FROM (:now - last_beat_at)) * 1000)").bindparams(now=now)
    statement = (
        update(workers)
        .where(workers.c.name == caller.name, workers.c.incarnation == caller.incarnation, ~workers.c.gone)
        .values(beat=request.beat, max_beat_gap_ms=gap, last_beat_at=now, usage=request.usage)
        .returning(workers.c.draining)
    )
    row: Row[Any] | None = (await tx.execute(statement)).one_or_none()
    if row is None:
        raise Gone(f"worker {caller.name} has another incarnation now")
    return row


async def _attempt_beats(tx: AsyncConnection, caller: Caller, request: BeatRequest) -> set[tuple[UUID, int]]:
    if not request.attempts:
        return set()
    rows = await tx.execute(
        _BEAT,
        {
            "incarnation": caller.incarnation,
            "runs": [a.run_id for a in request.attempts],
            "grants": [a.grant for a in request.attempts],
        },
    )
    for a in request.attempts:
        if a.progress is not None:
            mine = (attempts.c.run_id == a.run_id) & (attempts.c.grant_no == a.grant)
            await tx.execute(update(attempts).where(mine).values(progress=a.progress))
    return {(row.run_id, row.grant_no) for row in rows}


async def _orders(tx: AsyncConnection, request: BeatRequest, alive: set[tuple[UUID, int]]) -> list[Order]:
    orders = [
        Order(kind="forget", run_id=a.run_id, grant=a.grant)
        for a in request.attempts
        if (a.run_id, a.grant) not in alive
    ]
    if alive:
        asked = select(runs.c.id, runs.c.grant_no, runs.c.kill_why).where(
            tuple_(runs.c.id, runs.c.grant_no).in_(alive), runs.c.kill_why.is_not(None)
        )
        orders += [
            Order(kind="kill", run_id=row.id, grant=row.grant_no, why=row.kill_why) for row in await tx.execute(asked)
        ]
    return orders


async def _acks(tx: AsyncConnection, spools: Sequence[RunRef]) -> list[SpoolAck]:
    """The highest sequence number up to which each spool is projected without a gap."""
    if not spools:
        return []
    statement = (
        select(_pointers.c.run_id, _pointers.c.grant_no, _pointers.c.first_seq, _pointers.c.last_seq)
        .where(tuple_(_pointers.c.run_id, _pointers.c.grant_no).in_([(s.run_id, s.grant) for s in spools]))
        .order_by(_pointers.c.run_id, _pointers.c.grant_no, _pointers.c.first_seq)
    )
    reached: dict[tuple[UUID, int], int] = {(s.run_id, s.grant): -1 for s in spools}
    for row in await tx.execute(statement):
        key = (row.run_id, row.grant_no)
        if row.first_seq <= reached[key] + 1:
            reached[key] = max(reached[key], row.last_seq)
    return [SpoolAck(run_id=run_id, grant=grant, last_seq=seq) for (run_id, grant), seq in reached.items()]
