"""Retention: the coming months' partitions of runs in time, and what is older than it need be, gone.

A month of runs goes as a whole once all in it is over and old: its partition is detached under a lock that is held for
a moment, what belonged to its runs then goes in pieces, and the table last. From a month in which something is still
going on, what is old goes row by row. A run's key goes with the run or after it, never before.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from kirby_common.database import is_lock_timeout
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.schema import end_of_month, ensure_partitions
from kirby_common.ledger.transitions import ENDED
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kirby_scheduler.term import Term

log = structlog.get_logger()
_BATCH = 5000
_FORGET_KEYS_AFTER = timedelta(days=1)
_OLD = (
    "(status = ANY(:ended) AND NOT unfenced AND coalesce(greatest(ended_at, range_to), fire_at) < :before"
    " AND created_at < :before)"
)
"""Over, and long enough ago. What was skipped or missed has no end of its own; a range row is as old as its last."""

_LIVE = "status IN ('PENDING','CLAIMED','LAUNCHING','RUNNING','RETRYING','LOST') AND (status <> 'LOST' OR unfenced)"
_MONTHS = text(
    "SELECT c.relname, c.relispartition FROM pg_class c WHERE c.relkind = 'r' AND pg_table_is_visible(c.oid)"
    " AND c.relname ~ '^runs_[0-9]{4}_[0-9]{2}$' ORDER BY c.relname"
)


async def retain(term: Term, *, keep: timedelta, keep_revisions: timedelta) -> int:
    """One pass; returns how many ended runs were removed. Raises `Deposed`."""
    async with term.transaction() as tx:
        now = await database_now(tx)
        await ensure_partitions(tx, now=now)
    before = now - keep
    for month in await _months(term, attached=True):
        if end_of_month(month) <= before:
            await _detach(term, month, before)
    removed = 0
    for month in await _months(term, attached=False):
        removed += await _dissolve(term, month)
    removed += await _remove_rows(term, before)
    await _forget(term, now=now, keep_revisions=keep_revisions)
    return removed


async def _months(term: Term, *, attached: bool) -> list[str]:
    """The tables of months that are partitions of `runs`, or are so no longer."""
    async with term.transaction() as tx:
        return [row.relname for row in await tx.execute(_MONTHS) if row.relispartition is attached]


async def _detach(term: Term, month: str, before: datetime) -> None:
    """Takes the month out of `runs` if all in it is old; leaves it for the next pass if others are using `runs`."""
    async with term.transaction(timeout_ms=60_000) as tx:
        young = text(f"SELECT EXISTS (SELECT 1 FROM {month} WHERE NOT {_OLD})")  # noqa: S608
        if (await tx.execute(young, {"before": before, "ended": sorted(ENDED)})).scalar_one():
            return
    try:
        async with term.transaction() as tx:
            await tx.execute(text("SET LOCAL lock_timeout = '300ms'"))
            await tx.execute(text("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE"))
            # What is over may come back to life as long as the table can be written: a lost run that is found.
            if (await tx.execute(text(f"SELECT EXISTS (SELECT 1 FROM {month} WHERE {_LIVE})"))).scalar_one():  # noqa: S608
                return
            await tx.execute(text(f"ALTER TABLE runs DETACH PARTITION {month}"))
    except DBAPIError as error:
        if not is_lock_timeout(error):
            raise
        log.info("retention.month_is_in_use", month=month)


async def _dissolve(term: Term, month: str) -> int:
    """Removes what belonged to the runs of a detached month, then the month; goes on where a former leader stopped."""
    gone, last = 0, UUID(int=0)
    while True:
        async with term.transaction() as tx:
            piece = text(f"SELECT id FROM {month} WHERE id > :last ORDER BY id LIMIT :batch")  # noqa: S608
            ids = list((await tx.execute(piece, {"last": last, "batch": _BATCH})).scalars())
            if not ids:
                await tx.execute(text(f"DROP TABLE {month}"))
                log.info("retention.month_dropped", month=month, runs=gone)
                return gone
            await _remove_belongings(tx, ids)
        gone, last = gone + len(ids), ids[-1]


async def _remove_rows(term: Term, before: datetime) -> int:
    gone = 0
    while True:
        async with term.transaction() as tx:
            old = await tx.execute(
                text(
                    "DELETE FROM runs WHERE (id, created_at) IN (SELECT id, created_at FROM runs"  # noqa: S608
                    f" WHERE {_OLD} LIMIT :batch FOR UPDATE SKIP LOCKED) RETURNING id"
                ),
                {"before": before, "ended": sorted(ENDED), "batch": _BATCH},
            )
            ids = list(old.scalars())
            await _remove_belongings(tx, ids)
        gone += len(ids)
        if len(ids) < _BATCH:
            return gone


async def _remove_belongings(tx: AsyncConnection, ids: Sequence[UUID]) -> None:
    for table in ("run_keys", "attempts", "log_pointers"):
        await tx.execute(text(f"DELETE FROM {table} WHERE run_id = ANY(:ids)"), {"ids": list(ids)})  # noqa: S608


async def _forget(term: Term, *, now: datetime, keep_revisions: timedelta) -> None:
    """Old answers to repeated requests, and old revisions: of each thing the last one stays."""
    async with term.transaction(timeout_ms=60_000) as tx:
        await tx.execute(
            text("DELETE FROM idempotency_keys WHERE created_at < :before"), {"before": now - _FORGET_KEYS_AFTER}
        )
        await tx.execute(
            text(
                "DELETE FROM revisions r WHERE r.at < :before AND EXISTS (SELECT 1 FROM revisions later"
                " WHERE later.kind = r.kind AND later.entity_id = r.entity_id AND later.id > r.id)"
            ),
            {"before": now - keep_revisions},
        )
