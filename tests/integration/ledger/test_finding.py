"""Lost runs whose worker comes back, in each of the ways that the simulation has found to go wrong."""

from datetime import timedelta
from uuid import UUID, uuid4

from kirby_common.ledger import triggers
from kirby_common.topics import DEFAULT_OFFERS_PREFIX
from kirby_common.worker_protocol import ReportKind, RunGrant
from kirby_scheduler.loops.reap import settle
from kirby_scheduler.loops.sweep import sweep

from tests.integration.ledger.world import HandWorker, World

PREFIX = DEFAULT_OFFERS_PREFIX


async def claimed(world: World, worker: HandWorker, **policies: object) -> RunGrant:
    context_id = await world.context(policies=dict(policies))
    return await claimed_again(world, worker, context_id)


async def claimed_again(world: World, worker: HandWorker, context_id: UUID) -> RunGrant:
    async with world.engine.begin() as tx:
        made = await triggers.trigger(tx, context_id=context_id, principal="ann", key=str(uuid4()))
    (grant,) = [g for g in await worker.claim() if g.run_id == made.run_id]
    return grant


async def lose(world: World, grant: RunGrant, *, beat: int = 0) -> None:
    assert await settle(await world.term(), (grant.run_id, grant.grant), beat=beat, offers_prefix=PREFIX)
    assert (await world.run(grant.run_id)).status == "LOST"


async def test_a_beat_of_a_lost_run_that_goes_on_finds_it_and_spares_its_process(world: World) -> None:
    """Its worker was cut off for longer than the lease; an at_most_once script has gone on meanwhile."""
    worker = await world.worker()
    grant = await claimed(world, worker)
    await worker.start(grant)
    await lose(world, grant)
    assert (await worker.beat(grant)).orders == []
    run = await world.run(grant.run_id)
    assert (run.status, run.unfenced, run.reason) == ("RUNNING", False, "found")
    assert (await worker.end(grant)).status == "SUCCEEDED"


async def test_a_found_run_belongs_to_the_incarnation_that_found_it(world: World) -> None:
    old = await world.worker()
    grant = await claimed(world, old)
    await old.start(grant)
    await lose(world, grant)
    new = await world.worker(boot=old.boot, home=old.home)
    assert (await new.report(grant, ReportKind.STARTED)).status == "RUNNING"
    assert (await new.beat(grant)).orders == []


async def test_a_run_that_was_lost_before_its_start_was_told_is_not_forgotten(world: World) -> None:
    worker = await world.worker()
    grant = await claimed(world, worker)
    await worker.launch(grant)
    await lose(world, grant)
    assert (await worker.beat(grant)).orders == []
    assert (await worker.report(grant, ReportKind.STARTED)).status == "RUNNING"


async def test_a_lost_at_least_once_run_is_forgotten_its_process_has_fenced_itself(world: World) -> None:
    worker = await world.worker()
    grant = await claimed(world, worker, delivery="at_least_once")
    await worker.start(grant)
    assert await settle(await world.term(), (grant.run_id, grant.grant), beat=0, offers_prefix=PREFIX)
    assert [o.kind for o in (await worker.beat(grant)).orders] == ["forget"]


async def test_a_start_that_is_told_again_after_the_end_brings_nothing_back(world: World) -> None:
    worker = await world.worker()
    grant = await claimed(world, worker)
    await worker.start(grant)
    assert (await worker.end(grant, None)).status == "LOST"
    assert not (await worker.report(grant, ReportKind.STARTED)).accepted
    assert [o.kind for o in (await worker.beat(grant)).orders] == ["forget"]


async def test_an_end_that_nobody_saw_frees_the_places_of_a_lost_run(world: World) -> None:
    """Once it was a step from LOST to LOST, which the table has not: the worker's reports stood still for ever."""
    worker = await world.worker()
    grant = await claimed(world, worker)
    await worker.start(grant)
    await lose(world, grant)
    assert (await worker.end(grant, None)).accepted
    run = await world.run(grant.run_id)
    assert (run.status, run.unfenced) == ("LOST", False)
    after = await claimed_again(world, worker, run.context_id)
    await worker.start(after)


async def test_a_lost_run_that_had_not_started_frees_its_places(world: World) -> None:
    worker = await world.worker()
    grant = await claimed(world, worker)
    await worker.launch(grant)
    await lose(world, grant)
    assert (await worker.report(grant, ReportKind.NOT_LAUNCHED, reason="too late")).accepted
    run = await world.run(grant.run_id)
    assert (run.status, run.unfenced) == ("LOST", False)
    after = await claimed_again(world, worker, run.context_id)
    await worker.start(after)


async def test_a_run_lost_after_its_host_has_booted_anew_keeps_no_places(world: World) -> None:
    """The name is free after one lease, the reaper is patient for 1.25: the worker may be back before the loss."""
    old = await world.worker()
    grant = await claimed(world, old)
    await old.start(grant)
    await world.sql("UPDATE workers SET last_beat_at = last_beat_at - interval '1 hour'")
    await world.worker(boot="boot-2", home=old.home)
    await lose(world, grant)
    assert not (await world.run(grant.run_id)).unfenced


async def test_a_boot_of_a_host_that_gave_a_run_back_frees_no_place_of_the_one_that_runs_it(world: World) -> None:
    """Two hosts are silent; the one that is back had only claimed the run, the other may be running it still."""
    first, second = await world.worker("w1"), await world.worker("w2")
    grant = await claimed(world, first)
    assert (await first.report(grant, ReportKind.RELEASED)).accepted
    (again,) = await second.claim()
    await second.start(again)
    await lose(world, again)
    await world.sql("UPDATE workers SET last_beat_at = last_beat_at - interval '1 hour'")
    await world.worker("w1", boot="boot-2", home=first.home)
    assert (await world.run(grant.run_id)).unfenced
    await world.worker("w2", boot="boot-2", home=second.home)
    assert not (await world.run(grant.run_id)).unfenced


async def test_a_failure_that_is_told_without_its_start_is_tried_again(world: World) -> None:
    """The worker died before it told of the start, and its successor found only the end."""
    worker = await world.worker()
    grant = await claimed(world, worker, retry={"attempts": 2})
    await worker.launch(grant)
    assert (await worker.end(grant, 1)).accepted
    run = await world.run(grant.run_id)
    assert (run.status, run.attempt) == ("PENDING", 1)


async def test_a_run_that_may_have_started_is_never_called_missed(world: World) -> None:
    worker = await world.worker()
    grant = await claimed(world, worker, delivery="at_least_once")
    await worker.launch(grant)
    assert await settle(await world.term(), (grant.run_id, grant.grant), beat=0, offers_prefix=PREFIX)
    await world.sql("UPDATE runs SET deadline_at = clock_timestamp() - interval '1 second'")
    assert await sweep(await world.term(), offers_prefix=PREFIX) == 1
    assert (await world.run(grant.run_id)).status == "FAILED"


async def test_a_clock_that_was_set_back_brings_no_second_row_for_what_a_range_tells(world: World) -> None:
    from kirby_common.ledger.rules import change_of_rules
    from kirby_common.ledger.tables import Context

    context_id = await world.context(every=timedelta(seconds=1))
    async with change_of_rules(world.engine, author="ann") as change:
        (await change.session.get_one(Context, context_id)).paused = True
    await world.rewind(context_id, timedelta(seconds=20))
    await world.tick()
    (told,) = [r for r in await world.runs(context_id) if r.kind == "range"]
    # As if the clock, which can't be set here, had gone back: the row reaches beyond now.
    await world.sql("UPDATE runs SET range_to = range_to + interval '20 seconds' WHERE id = :id", id=told.id)
    await world.sql("UPDATE contexts SET horizon = horizon + interval '20 seconds' WHERE id = :id", id=context_id)
    async with change_of_rules(world.engine, author="ann") as change:
        (await change.session.get_one(Context, context_id)).paused = False
    (told,) = [r for r in await world.runs(context_id) if r.kind == "range"]
    assert all(r.due_at > told.range_to for r in await world.runs(context_id) if r.kind == "schedule")
