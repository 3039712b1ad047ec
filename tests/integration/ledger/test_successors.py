"""What follows the end of a run, on a real ledger: once, in the transaction of the end, and with its occasion."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from kirby_common import failpoints
from kirby_common.ledger import triggers
from kirby_common.ledger.runs import RunRow
from kirby_common.topics import DEFAULT_OFFERS_PREFIX
from kirby_common.worker_protocol import ReportKind, RunGrant
from kirby_scheduler.loops.reap import settle

from tests.integration.ledger.world import HandWorker, World


async def after(world: World, job: str, *before: str) -> None:
    """`job` comes after the others, each as NAME or NAME:condition."""
    for text in before:
        name, _, on = text.partition(":")
        await world.sql(
            'INSERT INTO job_predecessors (job_id, predecessor_id, "on")'
            " SELECT j.id, p.id, :on FROM jobs j, jobs p WHERE j.name = :job AND p.name = :name",
            job=job, name=name, on=on or "success",
        )  # fmt: skip


async def jobs(world: World, *names: str) -> dict[str, UUID]:
    return {name: await world.context(job=name) for name in names}


async def trigger(world: World, context: UUID, **given: Any) -> UUID:
    async with world.engine.begin() as tx:
        made = await triggers.trigger(tx, context_id=context, principal="ann", key=str(uuid4()), **given)
        return made.run_id


async def started(worker: HandWorker, run_id: UUID) -> RunGrant:
    """Of all that may be claimed, this one starts; the others are given back."""
    grants = {g.run_id: g for g in await worker.claim()}
    grant = grants.pop(run_id)
    for other in grants.values():
        await worker.report(other, ReportKind.RELEASED)
    await worker.start(grant)
    return grant


async def ran(world: World, worker: HandWorker, run_id: UUID, exit_code: int = 0) -> RunRow:
    await worker.end(await started(worker, run_id), exit_code)
    return await world.run(run_id)


async def the_one(world: World, context: UUID) -> RunRow:
    (run,) = await world.runs(context)
    return run


async def test_a_success_is_followed_in_the_same_environment_only(world: World) -> None:
    known = await jobs(world, "extract", "load")
    elsewhere = await world.context(job="load", env="test")
    await after(world, "load", "extract")
    worker = await world.worker()
    parent = await ran(world, worker, await trigger(world, known["extract"], variables={"DAY": "monday"}))
    child = await the_one(world, known["load"])
    assert (child.status, child.kind, child.parent_run_id, child.rerun) == ("PENDING", "child", parent.id, False)
    assert child.key == f"{parent.id}|after|0"
    assert child.variables == {"DAY": "monday"}
    assert await world.runs(elsewhere) == []
    await ran(world, worker, child.id)


async def test_a_scheduled_run_gives_its_due_time_to_what_follows(world: World) -> None:
    extract = await world.context(job="extract", at=datetime.now(UTC) + timedelta(seconds=3))
    load = await world.context(job="load")
    await after(world, "load", "extract")
    worker = await world.worker()
    await world.tick()
    (due,) = await world.runs(extract)
    await world.sql("UPDATE runs SET fire_at = clock_timestamp(), startable_at = clock_timestamp()")
    await ran(world, worker, due.id)
    child = await the_one(world, load)
    assert (child.due_at, child.occasion) == (due.due_at, f"due|{due.key}")


async def test_a_failure_has_its_handler_and_a_row_for_what_waited_for_success(world: World) -> None:
    known = await jobs(world, "extract", "load", "alarm", "clean")
    await after(world, "load", "extract")
    await after(world, "alarm", "extract:failure")
    await after(world, "clean", "extract:done")
    worker = await world.worker()
    parent = await ran(world, worker, await trigger(world, known["extract"]), exit_code=1)
    skipped = await the_one(world, known["load"])
    assert (skipped.status, skipped.reason) == ("SKIPPED", f"not run: extract was FAILED (run {parent.id})")
    assert (await the_one(world, known["alarm"])).status == "PENDING"
    assert (await the_one(world, known["clean"])).status == "PENDING"


async def test_nothing_follows_while_it_is_tried_again(world: World) -> None:
    extract = await world.context(job="extract", policies={"retry": {"attempts": 2}})
    load = await world.context(job="load")
    await after(world, "load", "extract")
    worker = await world.worker()
    run_id = await trigger(world, extract)
    await worker.end(await started(worker, run_id), 1)
    assert await world.runs(load) == []
    await worker.end(await started(worker, run_id), 0)
    assert (await the_one(world, load)).status == "PENDING"


async def test_an_end_and_what_follows_it_are_written_together_or_not_at_all(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await jobs(world, "extract", "load")
    await after(world, "load", "extract")
    worker = await world.worker()
    grant = await started(worker, await trigger(world, known["extract"]))
    failpoints.arm({"TESTING": "1", "KIRBY_FAILPOINT": "reports.before_successors:error"})
    try:
        with pytest.raises(failpoints.FailpointError):
            await worker.end(grant)
    finally:
        failpoints.arm({})
    assert (await world.run(grant.run_id)).status == "RUNNING"
    assert await world.runs(known["load"]) == []
    await worker.end(grant)
    await worker.end(grant)
    assert (await the_one(world, known["load"])).status == "PENDING"


async def lost(world: World, worker: HandWorker, run_id: UUID) -> RunGrant:
    grant = await started(worker, run_id)
    await settle(await world.term(), (grant.run_id, grant.grant), beat=0, offers_prefix=DEFAULT_OFFERS_PREFIX)
    return grant


async def test_an_end_that_is_known_late_adds_no_second_one(world: World) -> None:
    known = await jobs(world, "extract", "load", "alarm", "clean")
    await after(world, "load", "extract")
    await after(world, "alarm", "extract:failure")
    await after(world, "clean", "extract:done")
    worker = await world.worker()
    grant = await lost(world, worker, await trigger(world, known["extract"]))
    assert [len(await world.runs(known[name])) for name in ("load", "alarm", "clean")] == [0, 1, 1]
    await worker.report(grant, ReportKind.STARTED)
    await worker.end(grant)
    assert (await world.run(grant.run_id)).status == "SUCCEEDED"
    assert [len(await world.runs(known[name])) for name in ("load", "alarm", "clean")] == [1, 1, 1]


async def diamond(world: World) -> dict[str, UUID]:
    known = await jobs(world, "root", "left", "right", "join")
    await after(world, "left", "root")
    await after(world, "right", "root")
    await after(world, "join", "left", "right")
    return known


async def test_two_predecessors_that_end_at_once_are_followed_once(world: World) -> None:
    known = await diamond(world)
    a, b = await world.worker("a"), await world.worker("b")
    for round_ in range(1, 4):
        await ran(world, a, await trigger(world, known["root"]))
        (one,), (two,) = await a.claim(1), await b.claim(1)
        await a.start(one)
        await b.start(two)
        await asyncio.gather(a.end(one), b.end(two))
        runs = await world.runs(known["join"])
        assert len(runs) == round_
        assert {r.status for r in runs} <= {"PENDING", "SUCCEEDED"}
        (join,) = [r for r in runs if r.status == "PENDING"]
        await ran(world, a, join.id)


async def test_due_together_is_the_same_occasion_and_a_manual_run_is_one_of_its_own(world: World) -> None:
    at = datetime.now(UTC) + timedelta(seconds=3)
    known = {name: await world.context(job=name, at=at) for name in ("left", "right")}
    join = await world.context(job="join")
    await after(world, "join", "left", "right")
    worker = await world.worker()
    await ran(world, worker, await trigger(world, known["left"]))
    await world.tick()
    await world.sql("UPDATE runs SET fire_at = clock_timestamp(), startable_at = clock_timestamp()"
                    " WHERE status = 'PENDING'")  # fmt: skip
    due = [r for name in known for r in await world.runs(known[name]) if r.kind == "schedule"]
    await ran(world, worker, due[0].id)
    assert await world.runs(join) == []
    await ran(world, worker, due[1].id)
    child = await the_one(world, join)
    assert (child.status, child.parent_run_id) == ("PENDING", due[1].id)


async def rerun(world: World, run_id: UUID) -> UUID:
    async with world.engine.begin() as tx:
        return (await triggers.rerun(tx, run_id, principal="ann", key=str(uuid4()))).run_id


async def test_a_rerun_is_followed_by_reruns_that_meet_what_ran_before(world: World) -> None:
    known = await diamond(world)
    worker = await world.worker()
    await ran(world, worker, await trigger(world, known["root"]))
    left, right = await the_one(world, known["left"]), await the_one(world, known["right"])
    await ran(world, worker, left.id, exit_code=1)
    await ran(world, worker, right.id)
    assert (await the_one(world, known["join"])).status == "SKIPPED"
    await ran(world, worker, await rerun(world, left.id))
    made = [r for r in await world.runs(known["join"]) if r.status == "PENDING"]
    assert [(r.rerun, r.kind) for r in made] == [(True, "child")]


async def test_a_rerun_of_the_root_waits_for_all_that_lies_below_it(world: World) -> None:
    known = await diamond(world)
    worker = await world.worker()
    root = await trigger(world, known["root"])
    await ran(world, worker, root)
    for name in ("left", "right", "join"):
        await ran(world, worker, (await the_one(world, known[name])).id)
    await ran(world, worker, await rerun(world, root))
    (left,) = [r for r in await world.runs(known["left"]) if r.status == "PENDING"]
    await ran(world, worker, left.id)
    assert len(await world.runs(known["join"])) == 1
    (right,) = [r for r in await world.runs(known["right"]) if r.status == "PENDING"]
    await ran(world, worker, right.id)
    assert [r.rerun for r in await world.runs(known["join"])] == [False, True]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE contexts SET state = 'disabled' WHERE id = :id", "not run: load in prod is disabled"),
        ("UPDATE contexts SET paused = true, pause_reason = 'moving' WHERE id = :id", "paused: moving"),
        ("UPDATE environments SET paused = true WHERE :id = :id", "environment prod is paused: no reason given"),
        (
            "INSERT INTO schedule_exceptions (scope, scope_ref, start, reason, author)"
            " SELECT 'context', id::text, now() - interval '1 hour', 'the source is down', 'ann'"
            " FROM contexts WHERE id = :id",
            "by ann: the source is down",
        ),
    ],
)
async def test_a_successor_that_may_not_run_is_a_row_that_says_why(world: World, change: str, reason: str) -> None:
    known = await jobs(world, "extract", "load")
    await after(world, "load", "extract")
    worker = await world.worker()
    grant = await started(worker, await trigger(world, known["extract"]))
    await world.sql(change.replace(":id = :id", "true"), **({} if ":id = :id" in change else {"id": known["load"]}))
    await worker.end(grant)
    skipped = await the_one(world, known["load"])
    assert skipped.status == "SKIPPED"
    assert reason in skipped.reason
