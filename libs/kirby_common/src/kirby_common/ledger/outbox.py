"""What must be told on Kafka is written with what it tells of, then produced right after the commit.

Every process that writes to the ledger runs one `OutboxRelay` and wakes it after each commit; the leader's is
also the net for what others left behind. A message may be produced twice, never lost.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress

import structlog
from sqlalchemy import insert, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from kirby_common import failpoints
from kirby_common.ledger.tables import Outbox
from kirby_common.messages import Envelope, encode
from kirby_common.ports import Bus, BusUnavailable

log = structlog.get_logger()

Tx = AsyncSession | AsyncConnection
"""A transaction of the caller's."""

Transaction = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
"""Begins one: at its end it is committed, or rolled back when something was raised."""

_PUT = "kirby.outbox"

_TAKE = text(
    "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED)"
    " RETURNING id, topic, key, value"
)


async def put(tx: Tx, *, topic: str, key: str, message: Envelope | None) -> None:
    """Writes one message into the outbox; None is a tombstone."""
    await put_all(tx, [(topic, key, message)])


async def put_all(tx: Tx, messages: Sequence[tuple[str, str, Envelope | None]]) -> None:
    if messages:
        tx.info[_PUT] = True
        rows = [{"topic": t, "key": k, "value": None if m is None else encode(m)} for t, k, m in messages]
        await tx.execute(insert(Outbox.__table__), rows)  # type: ignore[arg-type]


def was_put(tx: Tx) -> bool:
    """Whether something was put since this was last asked: then the relay is to be woken after the commit."""
    return bool(tx.info.pop(_PUT, False))


async def flush(engine: AsyncEngine, bus: Bus) -> int:
    """Produces what waits, in one batch; returns how many. Raises `BusUnavailable`; nothing is lost then."""
    async with engine.begin() as connection:
        rows = sorted((await connection.execute(_TAKE)).all())
        if rows:
            await failpoints.hit("outbox.before_produce")
        async with asyncio.timeout(10):
            await asyncio.gather(*(bus.send(r.topic, key=r.key.encode(), value=r.value) for r in rows))
        if rows:
            await failpoints.hit("outbox.after_produce")
    return len(rows)


class OutboxRelay:
    """Produces the outbox of one process: at once when woken; what others left behind, every few seconds."""

    def __init__(self, engine: AsyncEngine, bus: Bus, *, idle_s: float = 5.0) -> None:
        self._engine = engine
        self._bus = bus
        self._idle_s = idle_s
        self._wake = asyncio.Event()
        self.problem: str | None = None

    def wake(self) -> None:
        """There is something to produce. Never blocks."""
        self._wake.set()

    async def run(self) -> None:
        while True:
            try:
                while await flush(self._engine, self._bus):
                    pass
                self._recovered()
            except (BusUnavailable, SQLAlchemyError, OSError, TimeoutError) as error:
                self._failed(error)
                await asyncio.sleep(1)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._idle_s):
                    await self._wake.wait()
            self._wake.clear()

    def _failed(self, error: Exception) -> None:
        if self.problem is None:
            log.warning("outbox.waiting", reason=str(error) or type(error).__name__)
        self.problem = f"messages wait for Kafka: {error}"

    def _recovered(self) -> None:
        if self.problem is not None:
            log.info("outbox.recovered")
        self.problem = None
