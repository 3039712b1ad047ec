"""The reaper, the sweeper and the arbiter on a real ledger."""

from uuid import UUID, uuid4

from kirby_api.ledger_role.finding import find_beating
from kirby_common.ledger import locks, triggers
from kirby_common.ledger.rules import change_of_rules
from kirby_common.ledger.tables import Context, Script
from kirby_common.topics import DEFAULT_OFFERS_PREFIX
from kirby_common.worker_protocol import ReportKind, RunGrant
from kirby_scheduler.loops.arbiter import arbitrate
from kirby_scheduler.loops.explain import explain
from kirby_scheduler.loops.reap import settle
from kirby_scheduler.loops.sweep import sweep

from tests.integration.ledger.world import LEASE, HandWorker, World

PREFIX = DEFAULT_OFFERS_PREFIX


async def running(world: World, worker: HandWorker, **context: object) -> RunGrant:
    context_id = await world.context(**context)  # type: ignore[arg-type]
    async with world.engine.begin() as tx:
        await triggers.trigger(tx, context_id=context_id, principal="ann", key=str(uuid4()))
    (grant,) = await worker.claim()
    await worker.start(grant)
    return grant


async def reap(world: World, grant: RunGrant, beat: int = 0) -> bool:
    return await settle(await world.term(), (grant.run_id, grant.grant), beat=beat, offers_prefix=PREFIX)


async def test_a_silent_at_most_once_run_is_lost_and_keeps_its_place(world: World) -> None:
    worker = await world.worker()
    grant = await running(world, worker)
    assert await reap(world, grant)
    run = await world.run(grant.run_id)
    assert (run.status, run.unfenced) == ("LOST", True)
    assert "fell silent: its end is unknown" in run.reason
    async with world.engine.begin() as tx:
        await triggers.trigger(tx, context_id=run.context_id, principal="ann", key="next")
    (after,) = await worker.claim()
    (decision,) = await worker.launch(after)
    assert not decision.ok


async def test_a_silent_at_least_once_run_gets_its_next_attempt(world: World) -> None:
    worker = await world.worker()
    grant = await running(world, worker, policies={"delivery": "at_least_once"})
    assert await reap(world, grant)
    (again,) = await worker.claim()
    assert (again.run_id, again.grant, again.attempt_next) == (grant.run_id, 2, 2)


async def test_an_attempt_that_has_beaten_meanwhile_is_left_alone(world: World) -> None:
    worker = await world.worker()
    grant = await running(world, worker)
    await worker.beat(grant)
    assert not await reap(world, grant, beat=0)
    assert (await world.run(grant.run_id)).status == "RUNNING"


async def test_a_silent_claim_is_offered_again(world: World) -> None:
    worker = await world.worker()
    context = await world.context()
    async with world.engine.begin() as tx:
        await triggers.trigger(tx, context_id=context, principal="ann", key="k")
    (grant,) = await worker.claim()
    assert await reap(world, grant)
    run = await world.run(grant.run_id)
    assert (run.status, run.attempt) == ("PENDING", 0)


async def test_a_lost_run_that_reports_again_is_found_and_a_late_end_counts(world: World) -> None:
    worker = await world.worker()
    grant = await running(world, worker)
    await reap(world, grant)
    assert (await worker.report(grant, ReportKind.STARTED)).status == "RUNNING"
    await reap(world, grant)
    await worker.end(grant)
    run = await world.run(grant.run_id)
    assert (run.status, run.reason, run.unfenced) == ("SUCCEEDED", "reported late", False)


async def test_a_reboot_of_the_host_frees_the_place(world: World) -> None:
    worker = await world.worker("server-1", boot="before")
    grant = await running(world, worker)
    await reap(world, grant)
    await world.sql("UPDATE workers SET last_beat_at = clock_timestamp() - interval '1 hour'")
    await world.worker("server-1", boot="after")
    assert not (await world.run(grant.run_id)).unfenced


async def test_a_passed_deadline_is_missed(world: World) -> None:
    context = await world.context()
    async with world.engine.begin() as tx:
        made = await triggers.trigger(tx, context_id=context, principal="ann", key="k")
    await world.sql("UPDATE runs SET deadline_at = clock_timestamp() - interval '1 second'")
    await world.sql("DELETE FROM outbox")
    assert await sweep(await world.term(), offers_prefix=PREFIX) == 1
    assert (await world.run(made.run_id)).status == "MISSED"
    assert {r.topic for r in await world.sql("SELECT topic FROM outbox")} == {".kirby.run-events"}


async def test_a_retry_waits_and_then_is_offered(world: World) -> None:
    worker = await world.worker()
    grant = await running(world, worker, policies={"retry": {"attempts": 2, "delay": "1h"}})
    assert (await worker.end(grant, 3)).status == "RETRYING"
    assert await sweep(await world.term(), offers_prefix=PREFIX) == 0
    await world.sql("UPDATE runs SET startable_at = clock_timestamp()")
    assert await sweep(await world.term(), offers_prefix=PREFIX) == 1
    (again,) = await worker.claim()
    assert again.attempt_next == 2


async def test_a_run_that_no_live_worker_may_take_says_which_labels_it_asks_for(world: World) -> None:
    context = await world.context(policies={"worker_labels": {"gpu": "yes"}})
    plain = await world.worker("plain", labels={"site": "lab"})
    async with world.engine.begin() as tx:
        made = await triggers.trigger(tx, context_id=context, principal="ann", key="k")
    await world.sql("UPDATE runs SET fire_at = fire_at - interval '9 s', startable_at = startable_at - interval '9 s'")
    assert await plain.claim() == []
    term = await world.term()
    assert [await explain(term, lease=LEASE) for _ in range(2)] == [1, 0]
    run = await world.run(made.run_id)
    assert (run.status, run.reason) == ("PENDING", "no live worker of pool 'default' has the labels gpu=yes")
    fit = await world.worker("fit", labels={"gpu": "yes", "site": "lab"})
    (grant,) = await fit.claim()
    await fit.start(grant)
    assert (await world.run(made.run_id)).reason is None


async def pass_over(world: World) -> int:
    return await arbitrate(await world.term(), lease_s=20, offers_prefix=PREFIX)


async def test_a_daemon_is_kept_alive_with_back_off(world: World) -> None:
    context = await world.context(type="daemon", replicas=2, group="g")
    worker = await world.worker()
    assert await pass_over(world) == 2
    one, two = await worker.claim()
    assert {one.slot, two.slot} == {0, 1}
    assert (one.deadline_in_ms, one.group, one.fenced) == (None, "g", False)
    await worker.start(one)
    await worker.start(two)
    assert await pass_over(world) == 2
    await worker.end(one, 1)
    await pass_over(world)
    (slot,) = await world.sql("SELECT * FROM daemon_slots WHERE slot = :slot", slot=one.slot)
    assert (slot.state, slot.crashes, slot.restarts) == ("BACKOFF", 1, 1)
    await world.sql("UPDATE daemon_slots SET not_before = clock_timestamp()")
    await pass_over(world)
    (again,) = await worker.claim()
    assert (again.slot, again.attempt_next) == (one.slot, 1)
    assert again.run_id != one.run_id
    assert context


async def test_a_paused_daemon_is_drained_and_a_resumed_one_comes_back(world: World) -> None:
    context = await world.context(type="daemon")
    worker = await world.worker()
    await pass_over(world)
    (grant,) = await worker.claim()
    assert grant.fenced
    await worker.start(grant)
    await pass_over(world)
    async with change_of_rules(world.engine, author="ann") as change:
        (await change.session.get_one(Context, context)).paused = True
    await pass_over(world)
    (order,) = (await worker.beat(grant)).orders
    assert (order.kind, order.why) == ("kill", "drained")
    assert (await worker.end(grant, 0, killed_by="drained")).status == "SUCCEEDED"
    await pass_over(world)
    (slot,) = await world.sql("SELECT state FROM daemon_slots")
    assert slot.state == "DOWN"
    async with change_of_rules(world.engine, author="ann") as change:
        (await change.session.get_one(Context, context)).paused = False
    await pass_over(world)
    assert len(await worker.claim()) == 1


async def new_version(world: World, context: UUID) -> None:
    async with change_of_rules(world.engine, author="ann") as change:
        script = Script(package_name="hello-prod", package_version="2.0")
        change.session.add(script)
        await change.session.flush()
        (await change.session.get_one(Context, context)).script_id = script.id
        await world.resolve(change.session, (await locks.want(change.session, "hello-prod", "2.0")).id)


async def up(world: World, worker: HandWorker) -> RunGrant:
    """The daemon's next generation, started and seen."""
    await pass_over(world)
    (grant,) = await worker.claim()
    await worker.start(grant)
    await pass_over(world)
    return grant


async def test_a_new_version_of_an_exclusive_daemon_waits_for_the_old_one(world: World) -> None:
    context = await world.context(type="daemon")
    worker = await world.worker()
    grant = await up(world, worker)
    await new_version(world, context)
    await pass_over(world)
    assert [o.why for o in (await worker.beat(grant)).orders] == ["superseded"]
    await worker.end(grant, None, signal=15, killed_by="superseded")
    await pass_over(world)
    newest = [r for r in await world.runs(context) if r.status == "PENDING"]
    assert [r.package_version for r in newest] == ["2.0"]


async def test_a_new_version_of_a_group_daemon_is_up_before_the_old_one_drains(world: World) -> None:
    context = await world.context(type="daemon", group="g")
    worker = await world.worker()
    old = await up(world, worker)
    await new_version(world, context)
    new = await up(world, worker)
    assert (old.package_version, new.package_version) == ("1.0", "2.0")
    assert (await worker.beat(old, new)).orders == []
    await world.sql("UPDATE daemon_slots SET up_since = up_since - interval '5 seconds'")
    await pass_over(world)
    assert [(o.run_id, o.why) for o in (await worker.beat(old, new)).orders] == [(old.run_id, "superseded")]
    await worker.end(old, 0, killed_by="superseded")
    await pass_over(world)
    (slot,) = await world.sql("SELECT * FROM daemon_slots")
    assert (slot.state, slot.run_id, slot.old_run_id, slot.generation) == ("UP", new.run_id, None, 2)
    assert await pass_over(world) == 0


async def test_while_a_version_is_being_resolved_the_old_one_goes_on(world: World) -> None:
    await world.context(type="daemon", group="g")
    worker = await world.worker()
    grant = await up(world, worker)
    await world.sql("UPDATE contexts SET state = 'enabling', state_reason = 'no lock yet'")
    assert await pass_over(world) == 0
    assert (await worker.beat(grant)).orders == []


async def test_a_daemon_whose_host_came_back_drains_its_old_generation(world: World) -> None:
    """Cut off for longer than the lease: replaced elsewhere; heard of again: found, superseded, drained."""
    await world.context(type="daemon", group="g")
    lost = await world.worker("a")
    old = await up(world, lost)
    assert await reap(world, old)
    assert await pass_over(world) == 1
    elsewhere = await world.worker("b")
    new = await up(world, elsewhere)
    assert (new.slot, new.run_id != old.run_id) == (old.slot, True)
    assert (await lost.beat(old)).orders == []
    assert (await world.run(old.run_id)).status == "RUNNING"
    await pass_over(world)
    assert [(o.run_id, o.why) for o in (await lost.beat(old)).orders] == [(old.run_id, "superseded")]
    await lost.end(old, None, signal=15, killed_by="superseded")
    run = await world.run(old.run_id)
    assert (run.status, run.reason) == ("KILLED", "superseded")
    assert (await elsewhere.beat(new)).orders == []
    assert await pass_over(world) == 0


async def test_a_run_that_was_cut_off_is_found_by_its_beat(world: World) -> None:
    worker = await world.worker()
    grant = await running(world, worker)
    await reap(world, grant)
    assert (await worker.beat(grant)).orders == []
    run = await world.run(grant.run_id)
    assert (run.status, run.reason, run.unfenced) == ("RUNNING", "found", False)
    assert await worker.end(grant)
    assert (await world.run(grant.run_id)).status == "SUCCEEDED"


async def test_a_run_that_a_report_finds_while_its_worker_beats_is_not_forgotten(world: World) -> None:
    """The beat saw it as lost, the report committed, and only then did the beat ask whether it is found."""
    worker = await world.worker()
    grant = await running(world, worker)
    await reap(world, grant)
    await worker.report(grant, ReportKind.STARTED)
    async with world.engine.begin() as tx:
        key = (grant.run_id, grant.grant)
        spared = await find_beating(tx, worker=worker.name, incarnation=worker.incarnation, silent=[key])
    assert spared == {key}


async def test_one_replica_per_worker_stays_with_its_worker(world: World) -> None:
    await world.context(type="daemon", per_worker=True)
    a, b = await world.worker("a"), await world.worker("b")
    assert await pass_over(world) == 2
    (for_b,) = await b.claim()
    (for_a,) = await a.claim()
    assert for_a.slot != for_b.slot
    assert await pass_over(world) == 0
