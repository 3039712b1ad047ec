"""Runs that wait for a place: how they begin to wait, and how they are let go when one is free.

Whoever may have freed a place wakes a `Doorkeeper`; the leader's sweeper looks once a second for what others left.
A run that waits has `waits_for` and no `startable_at`; its deadline counts from when it is let go.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kirby_common.ledger import attempts, backfills, places
from kirby_common.ledger.admission import Skip, Wait, Yes
from kirby_common.ledger.attempts import NO_HOLDER
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.outbox import OutboxRelay, Transaction, Tx, put_all
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.runs import RunRow, StaleRevision, amend, offer, read, runs, transition
from kirby_common.ledger.successors import follow
from kirby_common.ledger.transitions import STARTED, Status

log = structlog.get_logger()
_ANYBODY = text("SELECT EXISTS (SELECT 1 FROM runs WHERE status = 'PENDING' AND waits_for IS NOT NULL)")
_MOST_LOOKS = 20


async def park(tx: Tx, run: RunRow, answer: Wait, *, now: datetime, offers_prefix: str) -> set[UUID]:
    """Writes down that a run has to wait, and what its overlap policy does to those before it.

    Returns the runs that may not be decided about in the same look any more.
    """
    changed = set(answer.instead_of)
    if run.status == Status.CLAIMED:
        await attempts.close(tx, run, status="RELEASED", reason=answer.reason, at=now)
        await transition(
            tx, run, Status.PENDING, startable_at=None, deadline_at=None, let_go_at=None,
            waits_for=answer.waits_for, reason=answer.reason, **NO_HOLDER,
        )  # fmt: skip
    elif (run.waits_for, run.reason) != (answer.waits_for, answer.reason):
        await amend(tx, run, waits_for=answer.waits_for, reason=answer.reason)
        changed.add(run.id)
    for older in answer.instead_of:
        await _give_way(tx, older, to=run, now=now, offers_prefix=offers_prefix)
    if answer.ends is not None and await _end(tx, answer.ends, for_=run, now=now, offers_prefix=offers_prefix):
        changed.add(answer.ends)
    return changed


async def give_up(tx: Tx, run: RunRow, status: Status, *, reason: str, now: datetime, offers_prefix: str) -> None:
    """Ends a run that was not started, whether a worker holds it or not."""
    if run.status == Status.CLAIMED:
        await attempts.close(tx, run, status=status, reason=reason, at=now)
    ended = await transition(tx, run, status, reason=reason, ended_at=now, waits_for=None, let_go_at=None, **NO_HOLDER)
    await follow(tx, [ended], offers_prefix=offers_prefix)


async def _give_way(tx: Tx, run_id: UUID, *, to: RunRow, now: datetime, offers_prefix: str) -> None:
    older = await read(tx, run_id, lock=True)
    if older is not None and older.status in {Status.PENDING, Status.CLAIMED}:
        reason = f"overlap=cancel_previous: run {to.id} took over"
        await give_up(tx, older, Status.SKIPPED, reason=reason, now=now, offers_prefix=offers_prefix)


async def _end(tx: Tx, run_id: UUID, *, for_: RunRow, now: datetime, offers_prefix: str) -> bool:
    """Ends the predecessor, and says whether this was news.

    A process is killed by its worker, as soon as that is heard of again; a retry that only waits is cancelled.
    """
    previous = await read(tx, run_id, lock=True)
    if previous is None:
        return False
    why = f"overlap=cancel_previous: run {for_.id}"
    if previous.status in {*STARTED, Status.LOST} and previous.kill_why is None:
        asked = await amend(tx, previous, kill_why="cancel_previous", reason=why)
        await put_all(tx, [offer(asked, daemon=False, offers_prefix=offers_prefix)])
        return True
    if previous.status in {Status.RETRYING, Status.PENDING, Status.CLAIMED}:
        await give_up(tx, previous, Status.CANCELLED, reason=why, now=now, offers_prefix=offers_prefix)
        return True
    return False


async def let_go(tx: AsyncConnection, *, offers_prefix: str) -> int:
    """One look at the first of every queue; returns how many runs it changed."""
    waiting = await _first_in_line(tx)
    if not waiting:
        return 0
    rows, limits = await places.lock(tx, waiting)
    now = await database_now(tx)
    still = [row for row in rows.values() if row.status == Status.PENDING and row.waits_for is not None]
    room = await places.room(tx, still, limits, now=now)
    changed: set[UUID] = set()
    for run in sorted(still, key=places.turn):
        if run.id in changed:
            continue
        match room.in_line(places.contender(run)):
            case Yes():
                await _go(tx, run, now=now, offers_prefix=offers_prefix)
                changed.add(run.id)
            case Skip(reason):
                await give_up(tx, run, Status.SKIPPED, reason=reason, now=now, offers_prefix=offers_prefix)
                changed.add(run.id)
            case Wait() as answer:
                changed |= await park(tx, run, answer, now=now, offers_prefix=offers_prefix)
    return len(changed)


async def _first_in_line(tx: AsyncConnection) -> Sequence[UUID]:
    order = (runs.c.fire_at, runs.c.priority.desc(), runs.c.id)
    place = func.row_number().over(partition_by=runs.c.waits_for, order_by=order).label("place")
    queued = select(runs.c.id, place).where(runs.c.status == Status.PENDING, runs.c.waits_for.is_not(None)).subquery()
    return (await tx.execute(select(queued.c.id).where(queued.c.place <= places.SEEN_IN_LINE))).scalars().all()


async def _go(tx: Tx, run: RunRow, *, now: datetime, offers_prefix: str) -> None:
    deadline = now + Policies.model_validate(run.policies).start_deadline
    gone = await amend(tx, run, startable_at=now, deadline_at=deadline, waits_for=None, let_go_at=now, reason=None)
    await put_all(tx, [offer(gone, daemon=False, offers_prefix=offers_prefix)])


async def let_all_go(transaction: Transaction, *, offers_prefix: str) -> int:
    """Looks until nothing changes any more; returns how many runs were changed."""
    total = 0
    for _ in range(_MOST_LOOKS):
        async with transaction() as tx:
            if not (await tx.execute(_ANYBODY)).scalar_one():
                break
            changed = await let_go(tx, offers_prefix=offers_prefix)
        total += changed
        if not changed:
            break
    return total


class Doorkeeper:
    """Lets waiting runs go for one process: at once when woken, and however often, one look at a time."""

    def __init__(self, engine: AsyncEngine, relay: OutboxRelay, *, offers_prefix: str) -> None:
        self._engine = engine
        self._relay = relay
        self._offers_prefix = offers_prefix
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """A place may be free. Never blocks."""
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                gone = await let_all_go(self._engine.begin, offers_prefix=self._offers_prefix)
                gone += await backfills.let_all_go(self._engine.begin, offers_prefix=self._offers_prefix)
                if gone:
                    self._relay.wake()
            except (SQLAlchemyError, StaleRevision, OSError, TimeoutError) as error:
                log.warning("doorkeeper.failed", reason=str(error).split("\n")[0])
