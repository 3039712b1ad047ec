"""The tick: writes down the runs of all due times up to the horizon."""

import asyncio
from datetime import timedelta

import structlog
from kirby_common import failpoints
from kirby_common.ledger import contexts
from kirby_common.ledger.materialise import database_now, materialise
from kirby_common.ledger.outbox import OutboxRelay
from sqlalchemy import text

from kirby_scheduler.term import Term

log = structlog.get_logger()
_BATCH = 500


async def tick(term: Term, *, horizon: timedelta, offers_prefix: str) -> int:
    """One pass, in batches of one transaction each; returns how many runs were inserted. Raises `Deposed`."""
    inserted = 0
    while True:
        async with term.transaction() as tx:
            await tx.execute(text("SELECT rev FROM rules_gate FOR SHARE"))
            now = await database_now(tx)
            due = await contexts.load_due(tx, until=now + horizon, now=now, limit=_BATCH)
            done = await materialise(tx, due, until=now + horizon, now=now, offers_prefix=offers_prefix)
            if done.inserted:
                await failpoints.hit("tick.before_commit")
        if done.inserted:
            await failpoints.hit("tick.after_commit")
        inserted += len(done.inserted)
        if done.whole and len(due) < _BATCH:
            return inserted


async def tick_loop(
    term: Term, relay: OutboxRelay, *, every: timedelta, wakeup: timedelta, horizon: timedelta, offers_prefix: str
) -> None:
    """Ticks for the whole term: when something is due or the rules have changed, and at least each `wakeup`."""
    loop = asyncio.get_running_loop()
    last_full = float("-inf")
    last_rev: int | None = None
    while True:
        began = loop.time()
        rev, waiting = await _look(term, horizon)
        if waiting or rev != last_rev or began - last_full >= wakeup.total_seconds():
            if await tick(term, horizon=horizon, offers_prefix=offers_prefix):
                relay.wake()
            last_full, last_rev = began, rev
        await asyncio.sleep(max(every.total_seconds() - (loop.time() - began), 0.01))


async def _look(term: Term, horizon: timedelta) -> tuple[int, bool]:
    """The rules' revision, and whether any context is due within the horizon."""
    async with term.engine.connect() as tx:
        row = (
            await tx.execute(
                text(
                    "SELECT (SELECT rev FROM rules_gate) AS rev, EXISTS (SELECT 1 FROM contexts c JOIN jobs j"
                    " ON j.id = c.job_id WHERE c.state = 'enabled' AND j.type = 'scheduled' AND c.set_aside IS NULL"
                    " AND c.next_due_at <= clock_timestamp() + CAST(:horizon AS interval)"
                    " AND (NOT c.held OR c.next_due_at <= clock_timestamp())) AS waiting"
                ),
                {"horizon": horizon},
            )
        ).one()
    return row.rev, row.waiting
