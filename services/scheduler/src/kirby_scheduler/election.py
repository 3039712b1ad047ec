"""Who leads: Redis says who should try, the `leader` row in the ledger says who does."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import structlog
from kirby_common.database import is_passing
from kirby_common.ports import Lock
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from kirby_scheduler.term import Deposed, Term

log = structlog.get_logger()

_TAKE = text(
    "UPDATE leader SET epoch = epoch + 1, holder = :holder, name = :name, since = clock_timestamp(),"
    " lease_until = clock_timestamp() + CAST(:window AS interval)"
    " WHERE one AND (CAST(:hinted AS boolean) OR lease_until IS NULL OR lease_until < clock_timestamp())"
    " RETURNING epoch"
)
_RENEW = text(
    "UPDATE leader SET lease_until = clock_timestamp() + CAST(:window AS interval)"
    " WHERE one AND epoch = :epoch AND holder = :holder RETURNING epoch"
)


class Election:
    """Tries to lead for ever; while it does, runs `lead(term)` and stops it the moment the term is over."""

    def __init__(
        self, engine: AsyncEngine, lock: Lock, *, holder: UUID, name: str, window: timedelta,
        lead: Callable[[Term], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._engine = engine
        self._lock = lock
        self._holder = holder
        self._name = name
        self._window = window
        self._lead = lead
        self.leading: Term | None = None

    async def run(self) -> None:
        told = False
        try:
            while True:
                try:
                    term = await self._try_to_take()
                    told = False
                    if term is not None:
                        await self._hold(term)
                except (DBAPIError, OSError, TimeoutError) as error:
                    if isinstance(error, DBAPIError) and not is_passing(error):
                        raise
                    if not told:
                        log.warning("election.waiting", reason=str(error).split("\n")[0])
                        told = True
                await asyncio.sleep(1)
        finally:
            await self._let_go()

    async def _hinted(self) -> bool | None:
        """Whether Redis names us; None when Redis can't be asked."""
        try:
            ttl = round(self._window.total_seconds() * 1000)
            async with asyncio.timeout(max(self._window.total_seconds() / 3, 0.5)):
                return await self._lock.acquire(holder=str(self._holder), ttl_ms=ttl)
        except (ConnectionError, TimeoutError):
            return None

    async def _try_to_take(self) -> Term | None:
        hinted = await self._hinted()
        if hinted is False:
            return None
        async with self._engine.begin() as tx:
            values = {"holder": self._holder, "name": self._name, "window": self._window, "hinted": bool(hinted)}
            epoch = (await tx.execute(_TAKE, values)).scalar_one_or_none()
        return None if epoch is None else Term(self._engine, self._holder, epoch)

    async def _hold(self, term: Term) -> None:
        """Leads until the term is over, one way or another. Loops of a term never outlive it."""
        log.info("election.leading", name=self._name, epoch=term.epoch)
        self.leading = term
        work = asyncio.ensure_future(self._lead(term))
        renewing = asyncio.create_task(self._renew(term), name="renew")
        try:
            done, _ = await asyncio.wait({work, renewing}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                self._judge_end(task, term)
        finally:
            self.leading = None
            for task in (work, renewing):
                task.cancel()
            await asyncio.gather(work, renewing, return_exceptions=True)
            log.info("election.term_over", name=self._name, epoch=term.epoch)

    def _judge_end(self, task: "asyncio.Future[None]", term: Term) -> None:
        """A deposed leader or an absent database ends the term; any other error is ours and ends the service."""
        error = task.exception()
        for leaf in _leaves(error):
            if isinstance(leaf, Deposed) or is_passing(leaf):
                log.warning("election.deposed", name=self._name, epoch=term.epoch, reason=str(leaf).split("\n")[0])
            else:
                assert error is not None
                raise error

    async def _renew(self, term: Term) -> None:
        """Renews at a third of the window; ends with `Deposed` when the term is over.

        A database that does not answer for a whole window ends the term too: others may lead by then.
        """
        third = self._window.total_seconds() / 3
        loop = asyncio.get_running_loop()
        good_until = loop.time() + self._window.total_seconds()
        while True:
            await asyncio.sleep(third)
            if await self._hinted() is False:
                raise Deposed("Redis names another candidate")
            asked = loop.time()
            try:
                async with asyncio.timeout(max(good_until - asked, 0.1)):
                    await self._renew_once(term)
            except (DBAPIError, OSError, TimeoutError) as error:
                if loop.time() >= good_until:
                    raise Deposed("the ledger does not answer") from error
                continue
            good_until = asked + self._window.total_seconds()

    async def _renew_once(self, term: Term) -> None:
        async with self._engine.begin() as tx:
            values = {"window": self._window, "epoch": term.epoch, "holder": self._holder}
            if (await tx.execute(_RENEW, values)).first() is None:
                raise Deposed(f"epoch {term.epoch} is over")

    async def _let_go(self) -> None:
        """On a proper stop the next leader need not wait for the lease."""
        try:
            async with asyncio.timeout(2):
                async with self._engine.begin() as tx:
                    await tx.execute(
                        text("UPDATE leader SET lease_until = clock_timestamp() WHERE holder = :holder"),
                        {"holder": self._holder},
                    )
                await self._lock.release(holder=str(self._holder))
        except (DBAPIError, OSError, ConnectionError, TimeoutError) as error:
            log.debug("election.release_failed", reason=str(error))


def _leaves(error: BaseException | None) -> list[BaseException]:
    if error is None:
        return []
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]
