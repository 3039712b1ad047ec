"""The watchman: tells when no scheduler leads or no supervisor is alive, which the leader itself can't.

Every ledger role looks; the one that gets the advisory lock for its transaction writes.
"""

import asyncio
from datetime import timedelta

import structlog
from kirby_common.database import is_passing
from kirby_common.ledger.alerts import AlertKind, Condition, settle
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.outbox import OutboxRelay
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

log = structlog.get_logger()
_LOCK = 0x77617463  # "watc": any number that no other lock of ours has
_LEADER = text("SELECT name, lease_until FROM leader WHERE lease_until IS NULL OR lease_until < clock_timestamp()")
_WORKERS = text(
    "SELECT count(*) AS known, max(last_beat_at) AS last_beat_at, coalesce(bool_or(NOT gone AND last_beat_at >"
    " clock_timestamp() - make_interval(secs => :patience)), false) AS alive FROM workers"
)


class Watchman:
    def __init__(self, engine: AsyncEngine, relay: OutboxRelay, *, lease: timedelta, grace: timedelta) -> None:
        self._engine = engine
        self._relay = relay
        self._lease = lease
        self._grace = grace

    async def run(self) -> None:
        """Looks for ever; a database that is away only delays it."""
        while True:
            try:
                if await self.look():
                    self._relay.wake()
            except (DBAPIError, OSError, TimeoutError) as error:
                if isinstance(error, DBAPIError) and not is_passing(error):
                    raise
                log.warning("watchman.waiting", reason=str(error).split("\n")[0])
            await asyncio.sleep(self._lease.total_seconds() * 0.1)

    async def look(self) -> int:
        """One look; returns how many messages it made."""
        async with self._engine.begin() as tx:
            got = await tx.execute(text("SELECT pg_try_advisory_xact_lock(:n)"), {"n": _LOCK})
            if not got.scalar_one():
                return 0
            seen = [*await self._no_leader(tx), *await self._no_supervisor(tx)]
            kinds = [AlertKind.NO_LEADER, AlertKind.NO_SUPERVISOR]
            return await settle(tx, seen, kinds=kinds, now=await database_now(tx), source="kirby/ledger")

    async def _no_leader(self, tx: AsyncConnection) -> list[Condition]:
        row = (await tx.execute(_LEADER)).one_or_none()
        if row is None:
            return []
        reason = "no scheduler leads: nothing is scheduled; start one with `kirby supervisor NAME`"
        detail = {} if row.name is None else {"last_leader": row.name}
        since = row.lease_until
        return [Condition(AlertKind.NO_LEADER, "suite/leader", reason, grace=self._grace, since=since, detail=detail)]

    async def _no_supervisor(self, tx: AsyncConnection) -> list[Condition]:
        row = (await tx.execute(_WORKERS, {"patience": self._lease.total_seconds() * 1.25})).one()
        if row.alive:
            return []
        reason = "no supervisor is alive: nothing can run; start one with `kirby supervisor NAME`"
        return [
            Condition(
                AlertKind.NO_SUPERVISOR, "suite/supervisors", reason, grace=self._grace, since=row.last_beat_at,
                detail={"known": row.known},
            )
        ]  # fmt: skip
