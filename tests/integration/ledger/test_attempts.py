"""Claims, launches, reports and beats on a real ledger."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from kirby_api.ledger_role import workers
from kirby_api.ledger_role.workers import Gone
from kirby_common.ledger import locks, outbox, triggers
from kirby_common.worker_protocol import NameInUse, ReportKind, RunGrant

from tests.integration.ledger.world import HandWorker, World

SECOND = timedelta(seconds=1)


async def trigger(world: World, context: UUID, key: str | None = None) -> UUID:
    async with world.engine.begin() as tx:
        made = await triggers.trigger(tx, context_id=context, principal="ann", key=key or str(uuid4()))
        return made.run_id


async def claimed(world: World, worker: HandWorker, context: UUID) -> RunGrant:
    run_id = await trigger(world, context)
    (grant,) = [g for g in await worker.claim() if g.run_id == run_id]
    return grant


async def test_a_run_from_claim_to_success(world: World) -> None:
    context = await world.context()
    worker = await world.worker()
    grant = await claimed(world, worker, context)
    assert (grant.grant, grant.attempt_next, grant.job, grant.env) == (1, 1, "hello", "prod")
    assert grant.due_in_ms <= 0
    await worker.start(grant)
    outcome = await worker.end(grant)
    assert outcome.status == "SUCCEEDED"
    run = await world.run(grant.run_id)
    assert (run.status, run.attempt, run.exit_code) == ("SUCCEEDED", 1, 0)
    assert run.started_at <= run.ended_at


async def test_two_workers_never_get_the_same_run(world: World) -> None:
    context = await world.context(policies={"overlap": "allow"})
    for _ in range(40):
        await trigger(world, context)
    crew = [await world.worker(f"w{n}") for n in range(4)]
    got = await asyncio.gather(*(w.claim(15) for w in crew))
    ids = [g.run_id for grants in got for g in grants]
    assert len(ids) == len(set(ids)) == 40


async def test_a_repeated_claim_gets_its_grant_and_no_second_one(world: World) -> None:
    context = await world.context()
    worker = await world.worker()
    await trigger(world, context)
    claim_id = uuid4()
    first = await worker.claim(claim_id=claim_id)
    again = await worker.claim(claim_id=claim_id)
    assert [(g.run_id, g.grant) for g in first] == [(g.run_id, g.grant) for g in again]


async def test_the_same_key_triggers_once(world: World) -> None:
    context = await world.context()
    assert await trigger(world, context, "k") == await trigger(world, context, "k")
    assert len(await world.runs(context)) == 1


async def test_a_repeated_launch_is_the_same_attempt(world: World) -> None:
    context = await world.context()
    worker = await world.worker()
    grant = await claimed(world, worker, context)
    first = await worker.launch(grant)
    again = await worker.launch(grant)
    assert first == again
    assert first[0].attempt == 1


async def test_not_launched_gives_the_attempt_back(world: World) -> None:
    context = await world.context()
    worker = await world.worker()
    grant = await claimed(world, worker, context)
    await worker.launch(grant)
    await worker.report(grant, ReportKind.NOT_LAUNCHED, reason="too slow")
    run = await world.run(grant.run_id)
    assert (run.status, run.attempt, run.worker) == ("PENDING", 0, None)
    (again,) = await worker.claim()
    assert (again.grant, again.attempt_next) == (2, 1)


async def test_an_old_grant_can_neither_launch_nor_end_the_run(world: World) -> None:
    context = await world.context()
    worker = await world.worker()
    old = await claimed(world, worker, context)
    await worker.report(old, ReportKind.RELEASED)
    (new,) = await worker.claim()
    (decision,) = await worker.launch(old)
    assert not decision.ok
    await worker.start(new)
    assert not (await worker.end(old, exit_code=1)).accepted
    assert (await world.run(new.run_id)).status == "RUNNING"


async def test_overlap_skip_is_decided_at_the_due_instant(world: World) -> None:
    context = await world.context(at=datetime.now(UTC) + 3 * SECOND)
    worker = await world.worker()
    running = await claimed(world, worker, context)
    await worker.start(running)
    await world.tick()
    (ahead,) = await worker.claim()
    (decision,) = await worker.launch(ahead)
    assert (decision.ok, decision.retry_at_due) == (False, True)
    await world.sql("UPDATE runs SET fire_at = clock_timestamp() WHERE id = :id", id=ahead.run_id)
    (decision,) = await worker.launch(ahead)
    assert (decision.ok, decision.retry_at_due) == (False, False)
    run = await world.run(ahead.run_id)
    assert run.status == "SKIPPED"
    assert str(running.run_id) in run.reason


async def test_queue_one_waits_for_its_predecessor_and_a_second_one_is_skipped(world: World) -> None:
    context = await world.context(policies={"overlap": "queue_one"})
    worker = await world.worker()
    first = await claimed(world, worker, context)
    await worker.start(first)
    second = await claimed(world, worker, context)
    third = await claimed(world, worker, context)
    await worker.launch(second)
    await worker.launch(third)
    assert (await world.run(second.run_id)).status == "PENDING"
    assert (await world.run(third.run_id)).status == "SKIPPED"
    assert await worker.claim() == []
    await worker.end(first)
    (again,) = await worker.claim()
    assert again.run_id == second.run_id


async def test_cancel_previous_kills_first_and_starts_after_the_end_was_written(world: World) -> None:
    context = await world.context(policies={"overlap": "cancel_previous"})
    worker = await world.worker()
    first = await claimed(world, worker, context)
    await worker.start(first)
    second = await claimed(world, worker, context)
    (decision,) = await worker.launch(second)
    assert not decision.ok
    (order,) = (await worker.beat(first)).orders
    assert (order.kind, order.run_id, order.why) == ("kill", first.run_id, "cancel_previous")
    assert await worker.claim() == []
    await worker.end(first, None, signal=15, killed_by="cancel_previous")
    assert (await world.run(first.run_id)).status == "KILLED"
    (again,) = await worker.claim()
    await worker.start(again)


async def test_two_launches_of_one_context_at_once_admit_one(world: World) -> None:
    context = await world.context()
    a, b = await world.worker("a"), await world.worker("b")
    await trigger(world, context)
    await trigger(world, context)
    (one,), (two,) = await a.claim(1), await b.claim(1)
    decisions = [d for answer in await asyncio.gather(a.launch(one), b.launch(two)) for d in answer]
    assert sorted(d.ok for d in decisions) == [False, True]


async def test_a_failing_job_is_tried_as_often_as_its_policy_says(world: World) -> None:
    context = await world.context(policies={"retry": {"attempts": 3}})
    worker = await world.worker()
    grant = await claimed(world, worker, context)
    for _ in range(2):
        await worker.start(grant)
        assert (await worker.end(grant, 1)).status == "PENDING"
        (grant,) = await worker.claim()
    await worker.start(grant)
    await worker.end(grant, 0)
    tries = await world.attempts(grant.run_id)
    assert [(t.attempt, t.status) for t in tries] == [(1, "FAILED"), (2, "FAILED"), (3, "SUCCEEDED")]


async def test_five_preparation_errors_fail_the_run(world: World) -> None:
    context = await world.context()
    worker = await world.worker()
    grant = await claimed(world, worker, context)
    for _ in range(4):
        await worker.report(grant, ReportKind.PREPARATION_FAILED, reason="no disk")
        await world.sql("UPDATE runs SET startable_at = clock_timestamp()")
        (grant,) = await worker.claim()
    await worker.report(grant, ReportKind.PREPARATION_FAILED, reason="no disk")
    run = await world.run(grant.run_id)
    assert (run.status, run.reason, run.attempt) == ("FAILED", "could not be prepared: no disk", 0)


async def test_kill_reaches_the_worker_by_its_beat(world: World) -> None:
    context = await world.context()
    worker = await world.worker()
    grant = await claimed(world, worker, context)
    await worker.start(grant)
    async with world.engine.begin() as tx:
        assert await triggers.kill(tx, grant.run_id, by="ann", reason="wrong data") == "RUNNING"
    (order,) = (await worker.beat(grant)).orders
    assert (order.kind, order.why) == ("kill", "user")
    await worker.end(grant, None, signal=15, killed_by="user")
    run = await world.run(grant.run_id)
    assert (run.status, run.reason) == ("KILLED", "killed by ann: wrong data")


async def test_cancel_before_launching_leaves_no_start_and_after_it_says_too_late(world: World) -> None:
    context = await world.context()
    worker = await world.worker()
    early = await claimed(world, worker, context)
    async with world.engine.begin() as tx:
        assert await triggers.cancel(tx, early.run_id, by="ann") == "CANCELLED"
    (decision,) = await worker.launch(early)
    assert not decision.ok
    late = await claimed(world, worker, context)
    await worker.launch(late)
    with pytest.raises(triggers.Conflict, match="too late"):
        async with world.engine.begin() as tx:
            await triggers.cancel(tx, late.run_id, by="ann")
    assert (await world.run(late.run_id)).status == "LAUNCHING"


async def test_a_name_in_use_is_refused_and_the_same_home_takes_over(world: World) -> None:
    context = await world.context()
    home = uuid4()
    first = await world.worker("server-1", home=home)
    grant = await claimed(world, first, context)
    await first.start(grant)
    stranger = HandWorker(world.engine, "server-1", boot="boot-2", home=uuid4())
    refused = await stranger.hello()
    assert isinstance(refused, NameInUse)
    assert (refused.name, refused.host) == ("server-1", "host-a")
    heir = HandWorker(world.engine, "server-1", boot="boot-1", home=home)
    welcome = await heir.hello()
    assert [(a.run_id, a.grant, a.status) for a in welcome.attempts] == [(grant.run_id, 1, "RUNNING")]
    with pytest.raises(Gone):
        await first.beat(grant)
    assert (await heir.beat(grant)).orders == []
    assert (await heir.end(grant)).status == "SUCCEEDED"


async def test_a_new_process_of_a_worker_gives_back_the_versions_it_was_resolving(world: World) -> None:
    await world.context(ready=False)
    home = uuid4()
    await world.worker("server-1", home=home)
    async with world.engine.begin() as tx:
        assert await locks.wait(tx)
        assert await locks.claim(tx, worker="server-1") is not None
        assert not await locks.wait(tx)
        assert await locks.claim(tx, worker="server-1") is None
    await world.worker("server-1", home=home)
    async with world.engine.begin() as tx:
        assert await locks.claim(tx, worker="server-1") is not None


async def test_the_relay_is_woken_only_after_what_has_something_to_tell(world: World) -> None:
    context = await world.context()
    worker = await world.worker()
    async with world.engine.begin() as tx:
        await workers.current(tx, worker.caller)
        assert not outbox.was_put(tx)
        await triggers.trigger(tx, context_id=context, principal="ann", key="k")
        assert outbox.was_put(tx)
        assert not outbox.was_put(tx)


async def test_a_worker_is_known_by_its_token_and_its_incarnation(world: World) -> None:
    worker = await world.worker("server-1")
    await world.sql(
        "INSERT INTO worker_tokens (token_hash, name, created_by) VALUES (:hash, 'server-1', 'test')",
        hash=workers.token_hash("kirbyw_known"),
    )
    async with world.engine.begin() as tx:
        assert await workers.caller_of(tx, "kirbyw_unknown", worker.incarnation) is None
        caller = await workers.caller_of(tx, "kirbyw_known", worker.incarnation)
        assert caller is not None
        assert (await workers.current(tx, caller)).name == "server-1"
        other = await workers.caller_of(tx, "kirbyw_known", uuid4())
        assert other is not None
        with pytest.raises(Gone):
            await workers.current(tx, other)
