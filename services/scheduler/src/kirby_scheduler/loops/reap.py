"""The reaper: settles attempts whose beats have stopped."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from kirby_common import failpoints
from kirby_common.clock import Clock
from kirby_common.ledger import attempts as ledger_attempts
from kirby_common.ledger.attempts import NO_HOLDER, attempts
from kirby_common.ledger.judge import may_retry, retry_delay
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.outbox import OutboxRelay, put_all
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.runs import RunRow, offer, read, transition
from kirby_common.ledger.successors import follow
from kirby_common.ledger.tables import Worker
from kirby_common.ledger.transitions import STARTED, Status
from sqlalchemy import Row, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from kirby_scheduler.domain.watch import LEASES_PER_LOOK, Watch
from kirby_scheduler.term import Term

log = structlog.get_logger()
_workers: Table = Worker.__table__  # type: ignore[assignment]
Key = tuple[UUID, int]


async def reap_loop(
    term: Term, relay: OutboxRelay, clock: Clock, *, lease: timedelta, offers_prefix: str, settled: asyncio.Event
) -> None:
    """Watches for the whole term; a new term starts from zero. Sets `settled` for whoever replaces what is lost."""
    watch: Watch[Key] = Watch(lease.total_seconds())
    while True:
        beats = await _beats(term)
        watch, lost = watch.look(beats, now=clock.boot())
        for key in lost:
            if await settle(term, key, beat=beats[key], offers_prefix=offers_prefix):
                relay.wake()
                settled.set()
        await asyncio.sleep(lease.total_seconds() * LEASES_PER_LOOK)


async def _beats(term: Term) -> dict[Key, int]:
    async with term.engine.connect() as tx:
        statement = select(attempts.c.run_id, attempts.c.grant_no, attempts.c.beat).where(attempts.c.open)
        return {(row.run_id, row.grant_no): row.beat for row in await tx.execute(statement)}


async def settle(term: Term, key: Key, *, beat: int, offers_prefix: str) -> bool:
    """Ends one silent attempt, unless it has beaten meanwhile; whether it did. Raises `Deposed`."""
    run_id, grant = key
    await failpoints.hit("reap.before_settle")
    async with term.transaction() as tx:
        run = await read(tx, run_id, lock=True)
        mine = select(attempts).where(attempts.c.run_id == run_id, attempts.c.grant_no == grant).with_for_update()
        attempt = (await tx.execute(mine)).one_or_none()
        if run is None or attempt is None or not attempt.open or attempt.beat != beat:
            return False
        now = await database_now(tx)
        if run.grant_no != grant or run.status not in {Status.CLAIMED, *STARTED}:
            await tx.execute(attempts.update().where(attempts.c.run_id == run_id, attempts.c.grant_no == grant)
                             .values(open=False, status="LAPSED", ended_at=now))  # fmt: skip
            return True
        log.warning("reaper.silent", run=str(run_id), grant=grant, worker=attempt.worker, status=run.status)
        if run.status == Status.CLAIMED:
            reason = f"worker {attempt.worker} fell silent before the start"
            await ledger_attempts.close(tx, run, status="LAPSED", reason=reason, at=now)
            pending = await transition(tx, run, Status.PENDING, **NO_HOLDER)
            await put_all(tx, [offer(pending, daemon=run.kind == "daemon", offers_prefix=offers_prefix)])
        else:
            await _lose(tx, run, attempt, offers_prefix=offers_prefix)
    return True


async def _lose(tx: AsyncConnection, run: RunRow, attempt: Row[Any], *, offers_prefix: str) -> None:
    now = await database_now(tx)
    worker = attempt.worker
    policies = Policies.model_validate(run.policies)
    where = "may not have started" if run.status == Status.LAUNCHING else "its end is unknown"
    reason = f"worker {worker} fell silent: {where}"
    fenced = policies.delivery == "at_least_once"
    rebooted = await _has_rebooted(tx, attempt)
    await ledger_attempts.close(tx, run, status="LOST", reason=reason, at=now)
    daemon = run.kind == "daemon"
    unfenced = not (fenced or daemon or rebooted)
    lost = await transition(tx, run, Status.LOST, reason=reason, ended_at=now, unfenced=unfenced)
    if daemon:
        return
    if fenced and may_retry(policies, attempt=run.attempt, exit_code=None, lost=True, next_start=None):
        startable = now + retry_delay(policies, attempt=run.attempt, random=0.5)
        retrying = await transition(
            tx, lost, Status.RETRYING, startable_at=startable, deadline_at=startable + policies.start_deadline,
            ended_at=None, **NO_HOLDER,
        )  # fmt: skip
        pending = await transition(tx, retrying, Status.PENDING)
        await put_all(tx, [offer(pending, daemon=False, offers_prefix=offers_prefix)])
    else:
        await follow(tx, [lost], offers_prefix=offers_prefix)


async def _has_rebooted(tx: AsyncConnection, attempt: Row[Any]) -> bool:
    """Whether the attempt's worker is back already after a boot of its host: nothing from before is alive there."""
    boot = await tx.scalar(select(_workers.c.boot_id).where(_workers.c.name == attempt.worker))
    return boot is not None and boot != attempt.boot_id
