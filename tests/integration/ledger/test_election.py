"""Who leads, on a real Redis and a real ledger."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

from kirby_common.ports import Lock
from kirby_common.redis_lock import RedisLock
from kirby_scheduler.election import Election
from kirby_scheduler.term import Term
from redis.asyncio import Redis

from tests.eventually import eventually
from tests.integration.ledger.world import World

WINDOW = timedelta(seconds=1)


class Away:
    """A Redis that does not answer."""

    async def acquire(self, *, holder: str, ttl_ms: int) -> bool:
        raise ConnectionError("Redis: away")

    async def release(self, *, holder: str) -> None:
        raise ConnectionError("Redis: away")


class Candidate:
    def __init__(self, world: World, lock: Lock, name: str) -> None:
        self.terms: list[Term] = []
        self.active = 0
        self.holder = uuid4()
        self.election = Election(world.engine, lock, holder=self.holder, name=name, window=WINDOW, lead=self._lead)
        self.task = asyncio.create_task(self.election.run())

    async def _lead(self, term: Term) -> None:
        self.terms.append(term)
        self.active += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.active -= 1

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def candidates(world: World, *locks: Lock) -> AsyncIterator[list[Candidate]]:
    crew = [Candidate(world, lock, f"c{n}") for n, lock in enumerate(locks)]
    try:
        yield crew
    finally:
        for candidate in crew:
            await candidate.stop()


def leads(*crew: Candidate) -> Callable[[], list[Candidate]]:
    return lambda: [c for c in crew if c.election.leading is not None]


async def test_one_of_two_leads_and_the_other_takes_over_when_it_stops(world: World, redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis, candidates(world, RedisLock(redis), RedisLock(redis)) as (a, b):
        (first,) = await eventually(leads(a, b), timeout=5)
        other = b if first is a else a
        await first.stop()
        assert await eventually(leads(other), timeout=5) == [other]
        assert other.terms[0].epoch == first.terms[0].epoch + 1
        assert first.active == 0


async def test_a_flushed_redis_leaves_one_leader(world: World, redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis, candidates(world, RedisLock(redis), RedisLock(redis)) as (a, b):
        await eventually(leads(a, b), timeout=5)
        before = len(a.terms) + len(b.terms)
        await redis.delete("kirby:leader")
        await redis.set("kirby:leader", str(b.holder if a.election.leading else a.holder), px=5000)
        await eventually(lambda: len(a.terms) + len(b.terms) > before, timeout=5)
        (leader,) = await eventually(leads(a, b), timeout=5)
        await eventually(lambda: a.active + b.active == 1, timeout=5)
        (row,) = await world.sql("SELECT holder, epoch FROM leader")
        assert (row.holder, row.epoch) == (leader.holder, leader.terms[-1].epoch)


async def test_without_redis_the_ledger_alone_decides(world: World) -> None:
    async with candidates(world, Away(), Away()) as (a, b):
        (first,) = await eventually(leads(a, b), timeout=5)
        await first.stop()
        other = b if first is a else a
        await eventually(leads(other), timeout=10)
        assert other.terms[0].epoch == first.terms[0].epoch + 1


async def test_a_newer_epoch_ends_a_term_at_once(world: World, redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis, candidates(world, RedisLock(redis)) as (a,):
        await eventually(leads(a), timeout=5)
        await world.term()
        await eventually(lambda: a.active == 0, timeout=5)
        await eventually(lambda: len(a.terms) == 2, timeout=5)
        assert a.terms[1].epoch == a.terms[0].epoch + 2
