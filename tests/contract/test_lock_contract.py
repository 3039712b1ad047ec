"""What `Lock` promises: one suite for the lock in memory and for Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from kirby.dev.parts import free_port
from kirby_common.clock import SystemClock
from kirby_common.ports import Lock
from kirby_common.redis_lock import RedisLock
from kirby_common.testing.lock import MemoryLock
from redis.asyncio import Redis

from tests.eventually import eventually

LONG_MS = 60_000


@pytest_asyncio.fixture(loop_scope="session", params=["memory", "redis"])
async def lock(request: pytest.FixtureRequest) -> AsyncIterator[Lock]:
    if request.param == "memory":
        yield MemoryLock(SystemClock())
        return
    redis = Redis.from_url(request.getfixturevalue("redis_url"))
    yield RedisLock(redis, key="kirby:test")
    await redis.aclose()


async def test_one_of_many_gets_it(lock: Lock) -> None:
    got = await asyncio.gather(*(lock.acquire(holder=f"h{n}", ttl_ms=LONG_MS) for n in range(8)))
    assert sum(got) == 1


async def test_its_holder_keeps_it_by_asking_again(lock: Lock) -> None:
    assert await lock.acquire(holder="a", ttl_ms=LONG_MS)
    assert await lock.acquire(holder="a", ttl_ms=LONG_MS)
    assert not await lock.acquire(holder="b", ttl_ms=LONG_MS)


async def test_asking_again_makes_it_last_longer(lock: Lock) -> None:
    assert await lock.acquire(holder="a", ttl_ms=150)
    assert await lock.acquire(holder="a", ttl_ms=LONG_MS)
    await asyncio.sleep(0.2)  # The one thing here that only real time shows: the first term is over, the second not.
    assert not await lock.acquire(holder="b", ttl_ms=LONG_MS)


async def test_it_is_free_when_its_time_is_over(lock: Lock) -> None:
    assert await lock.acquire(holder="a", ttl_ms=50)
    await eventually(lambda: lock.acquire(holder="b", ttl_ms=LONG_MS))
    assert not await lock.acquire(holder="a", ttl_ms=LONG_MS)


async def test_only_its_holder_lets_go(lock: Lock) -> None:
    assert await lock.acquire(holder="a", ttl_ms=LONG_MS)
    await lock.release(holder="b")
    assert not await lock.acquire(holder="b", ttl_ms=LONG_MS)
    await lock.release(holder="a")
    assert await lock.acquire(holder="b", ttl_ms=LONG_MS)


async def test_letting_go_of_what_is_free_is_nothing(lock: Lock) -> None:
    await lock.release(holder="a")
    assert await lock.acquire(holder="b", ttl_ms=LONG_MS)


async def test_absence_is_a_connection_error() -> None:
    memory = MemoryLock(SystemClock())
    memory.available = False
    redis = Redis.from_url(f"redis://127.0.0.1:{free_port()}")
    for lock in (memory, RedisLock(redis)):
        with pytest.raises(ConnectionError):
            await lock.acquire(holder="a", ttl_ms=LONG_MS)
        with pytest.raises(ConnectionError):
            await lock.release(holder="a")
    await redis.aclose()
