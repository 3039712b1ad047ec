"""Overlap and limits on a real ledger: who is admitted, who waits for what, and who is let go next."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from kirby_common.ledger import triggers
from kirby_common.ledger.waiting import let_all_go
from kirby_common.topics import DEFAULT_OFFERS_PREFIX
from kirby_common.worker_protocol import ReportKind, RunGrant
from kirby_scheduler.loops.reap import settle
from kirby_scheduler.loops.sweep import sweep

from tests.integration.ledger.world import HandWorker, World

IN_DB = {"limits": ["db"]}
MANY = {"overlap": "allow"}


async def limit(world: World, name: str, places: int, *, key: str | None = None) -> None:
    await world.sql("INSERT INTO limits (name, places, key) VALUES (:name, :places, :key)",
                    name=name, places=places, key=key)  # fmt: skip


async def trigger(world: World, context: UUID, **given: Any) -> UUID:
    async with world.engine.begin() as tx:
        made = await triggers.trigger(tx, context_id=context, principal="ann", key=str(uuid4()), **given)
        return made.run_id


async def claimed(world: World, worker: HandWorker, context: UUID, **given: Any) -> RunGrant:
    run_id = await trigger(world, context, **given)
    (grant,) = [g for g in await worker.claim() if g.run_id == run_id]
    return grant


async def launched(worker: HandWorker, grants: Sequence[RunGrant]) -> list[bool]:
    return [d.ok for d in await worker.launch(*grants)]


async def test_a_full_limit_makes_a_run_wait_says_so_and_lets_it_go(world: World) -> None:
    await limit(world, "db", 1)
    first = await world.context(job="a", policies=IN_DB)
    second = await world.context(job="b", policies=IN_DB | {"start_deadline": "1h"})
    worker = await world.worker()
    running = await claimed(world, worker, first)
    await worker.start(running)
    late = await claimed(world, worker, second)
    assert await launched(worker, [late]) == [False]
    run = await world.run(late.run_id)
    assert (run.status, run.reason) == ("PENDING", "limit 'db' is full (1 of 1)")
    assert (run.startable_at, run.deadline_at) == (None, None)
    assert await worker.claim() == []
    await worker.end(running)
    run = await world.run(late.run_id)
    assert run.deadline_at - run.startable_at == timedelta(hours=1)
    assert run.startable_at >= (await world.run(running.run_id)).ended_at
    (again,) = await worker.claim()
    await worker.start(again)
    run = await world.run(late.run_id)
    assert (run.status, run.reason, run.waits_for, run.let_go_at) == ("RUNNING", None, None, None)


async def test_two_endpoints_racing_for_the_last_places(world: World) -> None:
    """Each asks for runs of several contexts and limits in an order of its own."""
    await limit(world, "db", 3)
    await limit(world, "api", 2)
    contexts = [
        await world.context(job=f"j{n}", policies=MANY | {"limits": ["db", "api"] if n % 2 else ["db"]})
        for n in range(4)
    ]
    crew = [await world.worker(f"w{n}") for n in range(2)]
    for n in range(16):
        await trigger(world, contexts[n % 4])
    grants = [await worker.claim(8) for worker in crew]
    await asyncio.gather(*(launched(w, mine[k : k + 4]) for w, mine in zip(crew, grants, strict=True) for k in (4, 0)))
    holding = [r for r in await world.runs() if r.status == "LAUNCHING"]
    assert 1 <= sum("api" in r.policies["limits"] for r in holding) <= 2
    assert len(holding) == 3
    assert {r.waits_for for r in await world.runs() if r.status == "PENDING"} <= {"limit db", "limit api"}


async def test_a_crowd_passes_a_narrow_limit_one_after_another(world: World) -> None:
    await limit(world, "db", 2)
    context = await world.context(policies=IN_DB | MANY)
    crew = [await world.worker(f"w{n}") for n in range(3)]
    order = [await trigger(world, context) for _ in range(12)]
    ended: list[UUID] = []
    while len(ended) < len(order):
        for worker in crew:
            grants = await worker.claim()
            started = [g for g, ok in zip(grants, await launched(worker, grants), strict=True) if ok]
            assert len([r for r in await world.runs() if r.status == "LAUNCHING"]) <= 2
            for grant in started:
                await worker.end(grant)
            ended += [g.run_id for g in started]
    assert ended == order
    # Nobody asked again and again: once to be told to wait, once to be let in.
    grants_made = await world.sql("SELECT count(*) AS n FROM attempts")
    assert grants_made[0].n <= 2 * len(order)


async def test_the_next_is_chosen_by_due_time_then_by_priority(world: World) -> None:
    await limit(world, "db", 1)
    worker = await world.worker()
    running = await claimed(world, worker, await world.context(job="first", policies=IN_DB))
    await worker.start(running)
    queue = [
        await claimed(world, worker, await world.context(job=f"j{p}", policies=IN_DB | {"priority": p}))
        for p in (1, 5, 3)
    ]
    await world.sql("UPDATE runs SET fire_at = (SELECT max(fire_at) FROM runs)")
    assert await launched(worker, queue) == [False] * 3
    await worker.end(running)
    let_go = [r for r in await world.runs() if r.let_go_at is not None]
    assert [r.priority for r in let_go] == [5]


async def test_a_key_limits_each_value_by_itself(world: World) -> None:
    await limit(world, "customer", 1, key="labels.customer")
    context = await world.context(policies={"limits": ["customer"], **MANY})
    worker = await world.worker()
    grants = [await claimed(world, worker, context, labels={"customer": c}) for c in ("acme", "acme", "other")]
    assert await launched(worker, grants) == [True, False, True]
    reason = (await world.run(grants[1].run_id)).reason
    assert reason == "limit 'customer' for labels.customer=acme is full (1 of 1)"


async def test_concurrency_of_a_job_makes_the_rest_wait(world: World) -> None:
    context = await world.context(policies={"overlap": "allow", "concurrency": 2})
    worker = await world.worker()
    grants = [await claimed(world, worker, context) for _ in range(3)]
    assert await launched(worker, grants) == [True, True, False]
    assert (await world.run(grants[2].run_id)).reason == "its concurrency is full (2 of 2)"
    await worker.end(grants[0])
    (again,) = await worker.claim()
    assert again.run_id == grants[2].run_id


async def test_between_attempts_a_limit_is_free_and_the_overlap_place_is_kept(world: World) -> None:
    await limit(world, "db", 1)
    flaky = await world.context(job="flaky", policies=IN_DB | {"retry": {"attempts": 2, "delay": "1h"}})
    worker = await world.worker()
    first = await claimed(world, worker, flaky)
    await worker.start(first)
    rival = await claimed(world, worker, await world.context(job="rival", policies=IN_DB))
    assert await launched(worker, [rival]) == [False]
    assert (await worker.end(first, 1)).status == "RETRYING"
    (rival,) = await worker.claim()
    await worker.start(rival)
    # The retry's turn comes while the rival has the place: it waits like any other, and keeps its own job's place.
    await world.sql("UPDATE runs SET startable_at = clock_timestamp() WHERE status = 'RETRYING'")
    await sweep(await world.term(), offers_prefix=DEFAULT_OFFERS_PREFIX)
    (retry,) = await worker.claim()
    assert await launched(worker, [retry]) == [False]
    assert (await world.run(retry.run_id)).reason == "limit 'db' is full (1 of 1)"
    other = await claimed(world, worker, flaky)
    await launched(worker, [other])
    assert (await world.run(other.run_id)).reason == f"overlap=skip: run {retry.run_id} was still PENDING"
    await worker.end(rival)
    (retry,) = await worker.claim()
    assert (retry.run_id, retry.attempt_next) == (first.run_id, 2)
    await worker.start(retry)


async def test_queue_one_waits_for_the_whole_of_its_predecessor_retries_included(world: World) -> None:
    context = await world.context(policies={"overlap": "queue_one", "retry": {"attempts": 2}})
    worker = await world.worker()
    first = await claimed(world, worker, context)
    await worker.start(first)
    second = await claimed(world, worker, context)
    await launched(worker, [second])
    assert (await worker.end(first, 1)).status == "PENDING"
    (retry,) = await worker.claim()
    assert retry.run_id == first.run_id
    await worker.start(retry)
    await worker.end(retry, 1)
    (again,) = await worker.claim()
    assert again.run_id == second.run_id


async def test_cancel_previous_in_one_request_ends_the_one_it_has_just_admitted(world: World) -> None:
    context = await world.context(policies={"overlap": "cancel_previous"})
    worker = await world.worker()
    first, second = await claimed(world, worker, context), await claimed(world, worker, context)
    assert await launched(worker, [second, first]) == [False, True]
    (order,) = (await worker.beat(first)).orders
    assert (order.kind, order.run_id, order.why) == ("kill", first.run_id, "cancel_previous")
    third = await claimed(world, worker, context)
    await launched(worker, [third])
    run = await world.run(second.run_id)
    assert (run.status, run.reason) == ("SKIPPED", f"overlap=cancel_previous: run {third.run_id} took over")
    await worker.end(first, None, signal=15, killed_by="cancel_previous")
    (again,) = await worker.claim()
    assert again.run_id == third.run_id


async def test_cancel_previous_cancels_a_retry_that_only_waits(world: World) -> None:
    context = await world.context(policies={"overlap": "cancel_previous", "retry": {"attempts": 2, "delay": "1h"}})
    worker = await world.worker()
    first = await claimed(world, worker, context)
    await worker.start(first)
    await worker.end(first, 1)
    second = await claimed(world, worker, context)
    await launched(worker, [second])
    assert (await world.run(first.run_id)).status == "CANCELLED"
    await let_all_go(world.engine.begin, offers_prefix=DEFAULT_OFFERS_PREFIX)
    (again,) = await worker.claim()
    await worker.start(again)


async def test_runs_that_waited_for_a_limit_still_obey_their_overlap_policy(world: World) -> None:
    await limit(world, "db", 1)
    context = await world.context(job="often", policies=IN_DB)
    worker = await world.worker()
    running = await claimed(world, worker, await world.context(job="long", policies=IN_DB))
    await worker.start(running)
    waiting = [await claimed(world, worker, context) for _ in range(3)]
    assert await launched(worker, waiting) == [False] * 3
    await worker.end(running)
    (one,) = await worker.claim()
    await worker.start(one)
    await let_all_go(world.engine.begin, offers_prefix=DEFAULT_OFFERS_PREFIX)
    assert [(await world.run(g.run_id)).status for g in waiting] == ["RUNNING", "SKIPPED", "SKIPPED"]


async def test_a_lost_run_holds_its_limit_until_its_end_is_known(world: World) -> None:
    await limit(world, "db", 1)
    worker = await world.worker()
    gone = await claimed(world, worker, await world.context(job="a", policies=IN_DB))
    await worker.start(gone)
    await settle(await world.term(), (gone.run_id, gone.grant), beat=0, offers_prefix=DEFAULT_OFFERS_PREFIX)
    other = await claimed(world, worker, await world.context(job="b", policies=IN_DB))
    assert await launched(worker, [other]) == [False]
    await worker.report(gone, ReportKind.ENDED, exit_code=0, ended_ms_ago=0)
    (again,) = await worker.claim()
    assert again.run_id == other.run_id


async def test_the_sweeper_lets_go_what_a_larger_limit_has_room_for(world: World) -> None:
    await limit(world, "db", 0)
    worker = await world.worker()
    grant = await claimed(world, worker, await world.context(policies=IN_DB))
    assert await launched(worker, [grant]) == [False]
    assert await sweep(await world.term(), offers_prefix=DEFAULT_OFFERS_PREFIX) == 0
    await world.sql("UPDATE limits SET places = 1")
    assert await sweep(await world.term(), offers_prefix=DEFAULT_OFFERS_PREFIX) == 1
    (again,) = await worker.claim()
    await worker.start(again)
