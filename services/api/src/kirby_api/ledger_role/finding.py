"""Lost runs whose worker is back: found, if their processes were free to go on meanwhile.

A process that fences itself is dead by the time its run is called lost. Every other goes on, however long its
worker was cut off, so a sign of life of it takes the loss back.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from kirby_common.ledger import contexts
from kirby_common.ledger.attempts import attempts
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.runs import RunRow, runs, transition
from kirby_common.ledger.transitions import Status
from sqlalchemy import Row, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

Key = tuple[UUID, int]


async def is_findable(tx: AsyncConnection, run: RunRow, attempt: Row[Any]) -> bool:
    """Whether the attempt was given up by the reaper, its end was not told since, and it does not fence itself."""
    if run.status != Status.LOST or attempt.status != "LOST":
        return False
    if Policies.model_validate(run.policies).delivery == "at_least_once":
        return False
    if run.kind != "daemon":
        return True
    (context,) = await contexts.load(tx, [run.context_id])
    return not context.exclusive_daemon


async def find(tx: AsyncConnection, run: RunRow, *, incarnation: UUID, started_at: datetime) -> RunRow:
    """The run goes on under this incarnation; the arbiter ends a daemon that has a successor by now."""
    await tx.execute(
        update(attempts)
        .where(attempts.c.run_id == run.id, attempts.c.grant_no == run.grant_no)
        .values(status="RUNNING", open=True, ended_at=None, incarnation=incarnation)
    )
    return await transition(
        tx, run, Status.RUNNING, started_at=run.started_at or started_at, ended_at=None, reason="found",
        unfenced=False, incarnation=incarnation,
    )  # fmt: skip


async def find_beating(tx: AsyncConnection, *, worker: str, incarnation: UUID, silent: Sequence[Key]) -> set[Key]:
    """Those of a worker's closed attempts that are not to be forgotten: found now, or once their start is told."""
    if not silent:
        return set()
    statement = (
        select(attempts)
        .join(runs, (runs.c.id == attempts.c.run_id) & (runs.c.grant_no == attempts.c.grant_no))
        .where(tuple_(attempts.c.run_id, attempts.c.grant_no).in_(silent), attempts.c.worker == worker)
        .where(runs.c.status == Status.LOST)
    )
    spared = set()
    for attempt in (await tx.execute(statement)).all():
        # One that a report holds just now is judged by the next beat: waiting here could wait for ever.
        held = select(runs).where(runs.c.id == attempt.run_id).with_for_update(skip_locked=True)
        run = (await tx.execute(held)).one_or_none()
        if run is not None and (run.grant_no != attempt.grant_no or not await is_findable(tx, run, attempt)):
            continue
        spared.add((attempt.run_id, attempt.grant_no))
        if run is not None and attempt.started_at is not None:
            await find(tx, run, incarnation=incarnation, started_at=attempt.started_at)
    return spared | await _found_meanwhile(tx, incarnation, silent)


async def _found_meanwhile(tx: AsyncConnection, incarnation: UUID, silent: Sequence[Key]) -> set[Key]:
    """Those that a report has found since the beat was written down. Asked last, so that none falls in between."""
    mine = select(attempts.c.run_id, attempts.c.grant_no).where(
        tuple_(attempts.c.run_id, attempts.c.grant_no).in_(silent),
        attempts.c.open,
        attempts.c.incarnation == incarnation,
    )
    return {(row.run_id, row.grant_no) for row in await tx.execute(mine)}
