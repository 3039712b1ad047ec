"""The loop that carries deliveries out: claim, attempt, write down what came of it."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog
from kirby_common.clock import Clock

from kirby_notifier.domain.attempts import after
from kirby_notifier.domain.targets import without_secrets
from kirby_notifier.ports import Couriers, Due, Notebook

log = structlog.get_logger()


class Delivering:
    """Up to `places` attempts at once. A claim outlives the longest attempt, so that no two overlap."""

    def __init__(
        self,
        notebook: Notebook,
        couriers: Couriers,
        *,
        clock: Clock,
        delays: Sequence[timedelta],
        lease: timedelta,
        wake: asyncio.Event,
        is_transient: Callable[[BaseException], bool],
        places: int = 8,
        idle_s: float = 1.0,
    ) -> None:
        self._notebook = notebook
        self._couriers = couriers
        self._clock = clock
        self._delays = delays
        self._lease = lease
        self._wake = wake
        self._is_transient = is_transient
        self._places = places
        self._idle_s = idle_s

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then finishes what is under way."""
        running: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                self._wake.clear()
                for due in await self._claim(self._places - len(running)):
                    task = group.create_task(self.attempt(due))
                    running.add(task)
                    task.add_done_callback(running.discard)
                    task.add_done_callback(lambda _: self._wake.set())
                await self._rest(stop)

    async def attempt(self, due: Due) -> None:
        """One attempt, and its entry in the delivery log."""
        began = self._clock.boot()
        outcome = await self._couriers[due.kind].deliver(due)
        took = timedelta(seconds=self._clock.boot() - began)
        then = after(outcome, attempt=due.attempt, delays=self._delays)
        log.info(
            "delivery.attempted", delivery=str(due.id), target=without_secrets(due.target), attempt=due.attempt,
            state=then.state, status=outcome.status, error=outcome.error, ms=round(took.total_seconds() * 1000),
        )  # fmt: skip
        deadline = began + self._lease.total_seconds()
        while True:
            try:
                return await self._notebook.finish(due, outcome, then=then, took=took)
            except Exception as error:
                if not self._is_transient(error):
                    raise
                if self._clock.boot() > deadline:
                    log.error("delivery.outcome_lost", delivery=str(due.id), reason=type(error).__name__)
                    return
            await asyncio.sleep(0.5)

    async def _claim(self, limit: int) -> Sequence[Due]:
        if limit <= 0:
            return ()
        try:
            return await self._notebook.claim(limit=limit, lease=self._lease)
        except Exception as error:
            if not self._is_transient(error):
                raise
            log.warning("delivery.waiting", reason=str(error).split("\n")[0])
            return ()

    async def _rest(self, stop: asyncio.Event) -> None:
        """Until there may be something to do: woken, a place is free, or the poll for what others left."""
        waiters = [asyncio.ensure_future(event.wait()) for event in (self._wake, stop)]
        try:
            await asyncio.wait(waiters, timeout=self._idle_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
