"""One of several does a work, the others stand by: whoever holds a lock of the database."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from kirby_common.database import is_passing
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

log = structlog.get_logger()

StillOurs = Callable[[], Awaitable[None]]
"""To be awaited now and then by the work: raises when the lock is gone with its connection."""


class OffsetMoved(RuntimeError):
    """Another one has projected this partition further, or it is to be done anew: go on from its offset."""


async def standing_by(
    engine: AsyncEngine, work: Callable[[StillOurs], Awaitable[None]], *, lock: int, waiting: str, every_s: float = 1.0
) -> None:
    """Does the work for ever whenever the lock is ours, and begins it anew after an outage or a moved offset.

    `waiting` is the event that the log gets then.
    """
    while True:
        try:
            async with engine.connect() as leader:
                await leader.execute(text("SET idle_session_timeout = 0"))
                got = await leader.execute(text("SELECT pg_try_advisory_lock(:n)"), {"n": lock})
                held = bool(got.scalar_one())
                await leader.commit()
                try:
                    while held:
                        await work(_asking(leader))
                finally:
                    if held:
                        # The lock is the connection's: one that went back to the pool would hold it from there.
                        await leader.invalidate()
        except (DBAPIError, OSError, TimeoutError, OffsetMoved) as error:
            if isinstance(error, DBAPIError) and not is_passing(error):
                raise
            log.warning(waiting, reason=str(error).split("\n")[0] or type(error).__name__)
        await asyncio.sleep(every_s)


def _asking(leader: AsyncConnection) -> StillOurs:
    async def still_ours() -> None:
        await leader.execute(text("SELECT 1"))
        await leader.commit()

    return still_ours
