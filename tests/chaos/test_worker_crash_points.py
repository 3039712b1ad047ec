"""A worker or a shim that dies at each step of a launch: each with a pool and a job of its own, all at once."""

import asyncio

from tests.chaos.crew import Crew
from tests.chaos.test_crash_points import resolved, trigger
from tests.eventually import eventually

# What becomes of an at_most_once run whose worker dies at the point, and is started anew: on a slow machine after
# the lease, so that a run is lost first. One that goes on is found; of the others nobody knows whether it started.
WORKER = {
    "worker.before_claim": {"SUCCEEDED"},
    "worker.claimed": {"SUCCEEDED"},
    "worker.ready": {"SUCCEEDED"},
    "worker.before_launching": {"SUCCEEDED"},
    "worker.launching": {"SUCCEEDED", "LOST"},
    "worker.going": {"SUCCEEDED", "LOST"},
    "worker.telling.started": {"SUCCEEDED"},
    "worker.told.started": {"SUCCEEDED"},
    "worker.telling.ended": {"SUCCEEDED"},
    "worker.told.ended": {"SUCCEEDED"},
}
# The same, when its shim dies and the worker lives on.
SHIM = {
    "shim.ready": {"SUCCEEDED"},
    "shim.go": {"SUCCEEDED"},
    "shim.before_start": {"LOST"},
    "shim.started": {"LOST"},
    "shim.ended": {"LOST"},
}
_AT_ONCE = 4


async def test_a_death_at_any_step_of_a_launch_starts_nothing_twice_and_loses_nothing_silently(crew: Crew) -> None:
    crew.ledger()
    crew.scheduler("a")
    first = await crew.worker("first")
    await resolved(crew, await crew.job(job="resolved"))
    first.kill()
    few = asyncio.Semaphore(_AT_ONCE)

    async def one(point: str, ends: set[str]) -> None:
        async with few:
            await _dies_at(crew, point, ends)

    await asyncio.gather(*(one(point, ends) for point, ends in (WORKER | SHIM).items()))
    assert set(crew.starts().values()) == {1}


async def _dies_at(crew: Crew, point: str, ends: set[str]) -> None:
    name = point.replace(".", "-").replace("_", "-")
    context = await crew.job(job=name, seconds=0.2)
    await crew.world.sql("UPDATE contexts SET pool = :pool WHERE id = :id", pool=name, id=context)
    run_id = await trigger(crew, context)
    worker = await crew.worker(name, pool=name, failpoint=f"{point}:kill9")
    if point in WORKER:
        await eventually(lambda: worker.process.poll() is not None, timeout=30, what=f"the death at {point}")
        worker = await crew.worker(name, pool=name)

    async def has_ended() -> bool:
        return await crew.status(run_id) in ends

    await eventually(has_ended, timeout=60, what=f"one of {ends} after the death at {point}")
    worker.kill()
