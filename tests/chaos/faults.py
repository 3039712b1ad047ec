"""The faults of a chaos run: each is begun, lasts for a while, and is healed."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.chaos.cast import LEASE_S, Cast, Player
from tests.chaos.proxy import TcpProxy

LEASES = (0.5, 1.5, 10.0)
Fault = Callable[[Cast, Random], Awaitable[str]]


async def _dies(cast: Cast, player: Player, random: Random) -> str:
    cast.kill(player)
    await asyncio.sleep(random.uniform(0.1, 4.0))
    cast.start(player)
    return player.name


async def kill_leader(cast: Cast, random: Random) -> str:
    leader = await cast.leader()
    return await _dies(cast, leader or cast.players["scheduler0"], random)


async def kill_scheduler(cast: Cast, random: Random) -> str:
    return await _dies(cast, random.choice(cast.named("scheduler")), random)


async def kill_ledger(cast: Cast, random: Random) -> str:
    return await _dies(cast, random.choice(cast.named("ledger")), random)


async def kill_worker(cast: Cast, random: Random) -> str:
    return await _dies(cast, random.choice(cast.named("worker")), random)


async def kill_shim(cast: Cast, random: Random) -> str:
    """One that serves a script, if there is one now."""
    workers = cast.named("worker")
    random.shuffle(workers)
    for worker in workers:
        for shim in cast.below(worker):
            with suppress(psutil.NoSuchProcess):
                if shim.ppid() == worker.pid and shim.children():
                    shim.kill()
                    return f"{worker.name} pid {shim.pid}"
    return "none ran"


async def _stands_still(cast: Cast, player: Player, random: Random, *, with_below: bool) -> str:
    leases = random.choice(LEASES)
    cast.pause(player, with_below=with_below)
    await asyncio.sleep(leases * LEASE_S)
    cast.resume(player)
    return f"{player.name} for {leases:g} leases"


async def pause_leader(cast: Cast, random: Random) -> str:
    leader = await cast.leader()
    return await _stands_still(cast, leader or cast.players["scheduler0"], random, with_below=False)


async def pause_worker(cast: Cast, random: Random) -> str:
    return await _stands_still(cast, random.choice(cast.named("worker")), random, with_below=False)


async def freeze_host(cast: Cast, random: Random) -> str:
    """A worker with its shims and scripts."""
    return await _stands_still(cast, random.choice(cast.named("worker")), random, with_below=True)


async def pause_ledger(cast: Cast, random: Random) -> str:
    return await _stands_still(cast, random.choice(cast.named("ledger")), random, with_below=False)


async def _restarts(cast: Cast, store: str, signum: int, away_s: float) -> str:
    async with cast.store_locks[store]:
        cast.kill_store(store, signum)
        await asyncio.sleep(away_s)
        await cast.start_store(store)
    return f"away for {away_s:.1f} s"


async def restart_kafka(cast: Cast, random: Random) -> str:
    signum = random.choice((signal.SIGKILL, signal.SIGTERM))
    return await _restarts(cast, "kafka", signum, random.uniform(0.5, 3.0))


async def flush_redis(cast: Cast, random: Random) -> str:
    client = Redis.from_url(cast.redis.url)
    try:
        with suppress(OSError, RedisError):  # It may be away by another fault.
            await client.flushall()
    finally:
        await client.aclose()
    return ""


async def kill_redis(cast: Cast, random: Random) -> str:
    return await _restarts(cast, "redis", signal.SIGKILL, random.uniform(0.5, 5.0))


async def restart_postgres(cast: Cast, random: Random) -> str:
    """Immediately, as after a crash."""
    return await _restarts(cast, "postgres", signal.SIGQUIT, random.uniform(0.1, 2.0))


def _some_way(cast: Cast, random: Random) -> tuple[str, TcpProxy]:
    ways = {"kafka": cast.kafka_proxy, "postgres": cast.postgres_proxy}
    ways |= {f"worker{n}": proxy for n, proxy in enumerate(cast.worker_proxies)}
    return random.choice(sorted(ways.items(), key=lambda way: way[0]))


async def _for_a_while(proxy: TcpProxy, random: Random) -> None:
    await asyncio.sleep(random.choice(LEASES) * LEASE_S)
    # Connections that were half open are dead: what was swallowed never comes.
    if proxy.swallowing:
        proxy.cut()
    proxy.heal()


async def slow_answers(cast: Cast, random: Random) -> str:
    name, proxy = _some_way(cast, random)
    proxy.delay = random.uniform(0.05, 0.6)
    await _for_a_while(proxy, random)
    return name


async def thin_line(cast: Cast, random: Random) -> str:
    name, proxy = _some_way(cast, random)
    proxy.rate = 20_000
    await _for_a_while(proxy, random)
    return name


async def cut_line(cast: Cast, random: Random) -> str:
    name, proxy = _some_way(cast, random)
    proxy.refusing = True
    proxy.cut()
    await _for_a_while(proxy, random)
    return name


async def half_open_line(cast: Cast, random: Random) -> str:
    name, proxy = _some_way(cast, random)
    proxy.swallowing = True
    await _for_a_while(proxy, random)
    return name


async def fill_disk(cast: Cast, random: Random) -> str:
    if not cast.disks:
        return "not possible: it needs root, to mount a small disk"
    ballast = cast.disks[0] / "ballast"
    await asyncio.to_thread(_fill, ballast)
    await asyncio.sleep(random.choice(LEASES) * LEASE_S)
    ballast.unlink(missing_ok=True)
    return "worker2"


def _fill(ballast: Path) -> None:
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))


ALL: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        kill_leader, kill_scheduler, kill_ledger, kill_worker, kill_shim, pause_leader, pause_worker, freeze_host,
        pause_ledger, restart_kafka, flush_redis, kill_redis, restart_postgres, slow_answers, thin_line, cut_line,
        half_open_line, fill_disk,
    )
}  # fmt: skip


def plan(random: Random, *, count: int) -> list[str]:
    """Every kind as often as any other, in a random order."""
    names: list[str] = []
    while len(names) < count:
        once = sorted(ALL)
        random.shuffle(once)
        names += once
    return names[:count]
