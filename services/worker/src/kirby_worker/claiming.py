"""Claims: on a wake-up and once a second, with free places."""

import asyncio
from collections.abc import Mapping
from uuid import uuid4

import structlog
from kirby_common import failpoints
from kirby_common.clock import Clock
from kirby_common.consumer import DeadLetters
from kirby_common.messages import BadMessage, RunOfferV1, decode
from kirby_common.ports import BusUnavailable, Record, Start, Tail
from kirby_common.worker_protocol import ClaimRequest

from kirby_worker.adapters.endpoint import Unavailable
from kirby_worker.adapters.home import Home
from kirby_worker.desk import Desk
from kirby_worker.domain.capacity import DISK_FULL, Limits, to_claim
from kirby_worker.domain.due import due_on_boot_clock
from kirby_worker.ports import Endpoint, WarmVenvs

log = structlog.get_logger()

POLL_S = 1.0


class Claimer:
    def __init__(
        self,
        endpoint: Endpoint,
        desk: Desk,
        *,
        home: Home,
        venvs: WarmVenvs,
        limits: Limits,
        pool: str,
        clock: Clock,
        labels: Mapping[str, str],
    ) -> None:
        self._endpoint = endpoint
        self._desk = desk
        self._home = home
        self._venvs = venvs
        self._limits = limits
        self._pool = pool
        self._clock = clock
        self._labels = dict(labels)
        self._wake = asyncio.Event()
        self._disk_told = False
        self.locks = asyncio.Event()
        """Set when a version may wait to be resolved: an answer said so, or nobody was asked."""

    def wake(self) -> None:
        """There may be something to claim."""
        self._wake.set()

    async def run(self) -> None:
        while True:
            self._wake.clear()
            asked = self._room()
            got = await self._claim(asked) if asked else 0
            if not asked:
                self.locks.set()
            if not asked or got < asked:
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        except TimeoutError:
            return

    def _room(self) -> int:
        if self._desk.draining:
            return 0
        used = self._home.disk_used()
        if (used > DISK_FULL) != self._disk_told:
            self._disk_told = not self._disk_told
            log.warning("claims.disk", used=round(used, 3), claiming=not self._disk_told)
        return to_claim(self._desk.attempts(), limits=self._limits, now=self._clock.boot(), disk_used=used)

    async def _claim(self, k: int) -> int:
        """One claim, repeated under its id until it is answered: the grants may be made already."""
        request = ClaimRequest(
            claim_id=uuid4(), again=False, k=k, pool=self._pool, labels=self._labels, venvs=self._venvs.ready()
        )
        told = False
        await failpoints.hit("worker.before_claim")
        while True:
            try:
                answer = await self._endpoint.claim(request)
                break
            except Unavailable as error:
                if not told:
                    log.warning("claims.unanswered", reason=str(error))
                    told = True
                request = request.model_copy(update={"again": True})
                await asyncio.sleep(POLL_S / 2)
        arrived = self._clock.boot()
        if answer.grants:
            await failpoints.hit("worker.claimed")
        if answer.locks:
            self.locks.set()
        for grant in answer.grants:
            self._desk.take(grant, due=due_on_boot_clock(arrived=arrived, due_in_ms=grant.due_in_ms))
        return len(answer.grants)


class Offers:
    """Listens to the offer topics: each offer is only a wake-up."""

    def __init__(
        self, tail: Tail, *, topics: tuple[str, ...], claimer: Claimer, desk: Desk, letters: DeadLetters
    ) -> None:
        self._tail = tail
        self._topics = topics
        self._claimer = claimer
        self._desk = desk
        self._letters = letters

    async def run(self) -> None:
        async for records in self._tail.records(self._topics, start=Start(at="end")):
            for record in records:
                await self._take(record)
            self._claimer.wake()

    async def _take(self, record: Record) -> None:
        try:
            message = decode(record.value)
        except BadMessage as error:
            try:
                await self._letters.refuse(record, reason=str(error))
            except BusUnavailable as absent:
                log.warning("offer.not_dead_lettered", reason=str(absent))
            return
        # An offer of a run that is held here says that an order waits: the next beat brings it.
        if isinstance(message, RunOfferV1) and self._desk.holds(message.data.run_id):
            self._desk.beat_now()
