"""Who a worker is: its token, its name, its incarnation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from kirby_common.ledger import locks
from kirby_common.ledger import runs as ledger_runs
from kirby_common.ledger.attempts import attempts
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.tables import Worker, WorkerToken
from kirby_common.ledger.transitions import Status
from kirby_common.worker_protocol import HeldAttempt, Hello, NameInUse, Welcome
from sqlalchemy import Row, Table, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

workers: Table = Worker.__table__  # type: ignore[assignment]
_tokens: Table = WorkerToken.__table__  # type: ignore[assignment]


class Gone(RuntimeError):
    """The incarnation does not hold its name any more: the worker must stop."""


@dataclass(frozen=True)
class Caller:
    """An authenticated worker, with its row if that was read with its token."""

    name: str
    incarnation: UUID
    row: Row[Any] | None = None


def token_hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()


async def name_of(tx: AsyncConnection, token: str) -> str | None:
    """The worker name that the token was made for, or None."""
    found = await tx.execute(select(_tokens.c.name).where(_tokens.c.token_hash == token_hash(token)))
    return found.scalar_one_or_none()


async def caller_of(tx: AsyncConnection, token: str, incarnation: UUID) -> Caller | None:
    """Who calls, in one query; None: the token is nobody's."""
    mine = (workers.c.name == _tokens.c.name) & (workers.c.incarnation == incarnation) & ~workers.c.gone
    statement = (
        select(_tokens.c.name.label("whose"), workers)
        .join(workers, mine, isouter=True)
        .where(_tokens.c.token_hash == token_hash(token))
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else Caller(row.whose, incarnation, row if row.name is not None else None)


async def current(tx: AsyncConnection, caller: Caller) -> Row[Any]:
    """The row of the caller. Raises `Gone`."""
    if caller.row is not None:
        return caller.row
    statement = select(workers).where(
        workers.c.name == caller.name, workers.c.incarnation == caller.incarnation, ~workers.c.gone
    )
    row = (await tx.execute(statement)).one_or_none()
    if row is None:
        raise Gone(f"worker {caller.name} has another incarnation now")
    return row


async def hello(tx: AsyncConnection, request: Hello, *, lease: timedelta) -> Welcome | NameInUse:
    """Gives the name to this incarnation, or says who has it.

    The same home on the same boot takes over at once and inherits the attempts.
    """
    now = await database_now(tx)
    known = (await tx.execute(select(workers).where(workers.c.name == request.name).with_for_update())).one_or_none()
    same_home = known is not None and (known.boot_id, known.home_id) == (request.boot_id, request.home_id)
    if known is not None and not same_home and not known.gone and known.last_beat_at + lease > now:
        return NameInUse(name=request.name, host=known.host, since=known.since)
    values = _values(request, now)
    statement = insert(workers).values(name=request.name, **values)
    await tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))
    inherited: Sequence[Row[Any]] = []
    if known is not None and same_home:
        inherited = await _inherit(tx, known.incarnation, request.incarnation)
    elif known is not None and known.boot_id != request.boot_id:
        await _fence_by_reboot(tx, known)
    await locks.release(tx, worker=request.name)
    held = [HeldAttempt(run_id=r.run_id, grant=r.grant_no, attempt=r.attempt, status=r.status) for r in inherited]
    return Welcome(worker_id=request.name, lease_ms=lease.total_seconds() * 1000, attempts=held)


def _values(request: Hello, now: datetime) -> dict[str, Any]:
    return {
        "incarnation": request.incarnation, "boot_id": request.boot_id, "home_id": request.home_id,
        "host": request.host, "pool": request.pool, "labels": request.labels, "places": request.places,
        "version": request.version, "platform": request.platform, "python": request.python, "beat": 0,
        "last_beat_at": now, "max_beat_gap_ms": 0, "since": now, "draining": False, "gone": False,
    }  # fmt: skip


async def _inherit(tx: AsyncConnection, before: UUID, after: UUID) -> Sequence[Row[Any]]:
    statement = (
        update(attempts)
        .where(attempts.c.incarnation == before, attempts.c.open)
        .values(incarnation=after)
        .returning(attempts.c.run_id, attempts.c.grant_no, attempts.c.attempt, attempts.c.status)
    )
    inherited = (await tx.execute(statement)).all()
    runs = ledger_runs.runs
    held = [r.run_id for r in inherited]
    await tx.execute(update(runs).where(runs.c.id.in_(held), runs.c.incarnation == before).values(incarnation=after))
    return inherited


async def _fence_by_reboot(tx: AsyncConnection, known: Row[Any]) -> None:
    """The host has booted anew: nothing that it ran before can still be alive. What it gave back may be, elsewhere."""
    runs = ledger_runs.runs
    there = (attempts.c.worker == known.name) & (attempts.c.boot_id == known.boot_id)
    lost_there = select(attempts.c.run_id, attempts.c.grant_no).where(there)
    await tx.execute(
        update(runs)
        .where(tuple_(runs.c.id, runs.c.grant_no).in_(lost_there), runs.c.status == Status.LOST, runs.c.unfenced)
        .values(unfenced=False)
    )


async def bye(tx: AsyncConnection, caller: Caller) -> None:
    """The worker has drained: its name is free at once."""
    await tx.execute(
        update(workers)
        .where(workers.c.name == caller.name, workers.c.incarnation == caller.incarnation)
        .values(gone=True, draining=False)
    )
