"""Backfills: the leader makes their rows ahead of what may start, and lets go what may."""

import asyncio
from uuid import UUID

import structlog
from kirby_common import failpoints
from kirby_common.ledger import backfills
from kirby_common.ledger.outbox import OutboxRelay

from kirby_scheduler.term import Term

log = structlog.get_logger()
_MOST_STEPS = 20
"""So many transactions for one backfill, then it is the next one's turn."""


async def backfill_loop(term: Term, relay: OutboxRelay, *, offers_prefix: str) -> None:
    """Looks once a second for the whole term."""
    while True:
        if await fill(term, offers_prefix=offers_prefix):
            relay.wake()
        await asyncio.sleep(1)


async def fill(term: Term, *, offers_prefix: str) -> bool:
    """One pass over the backfills that go on; returns whether there is something to tell. Raises `Deposed`."""
    async with term.engine.connect() as tx:
        going_on = await backfills.open_ids(tx)
    changed = False
    for backfill_id in going_on:
        try:
            changed |= await _one(term, backfill_id, offers_prefix=offers_prefix)
        except ValueError:
            # One backfill whose context can't be read stops no other.
            log.exception("backfill.set_aside", backfill=str(backfill_id))
    return changed


async def _one(term: Term, backfill_id: UUID, *, offers_prefix: str) -> bool:
    changed = False
    for _ in range(_MOST_STEPS):
        async with term.transaction() as tx:
            step = await backfills.advance(tx, backfill_id, offers_prefix=offers_prefix)
            if step.changed:
                await failpoints.hit("backfill.before_commit")
        changed |= step.changed
        if not step.more:
            break
    return changed
