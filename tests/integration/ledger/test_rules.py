"""A change of rules: what is not yet starting obeys the new ones, what starts is told as too late."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import combinations
from uuid import UUID

import pytest
from kirby_common.ledger import locks
from kirby_common.ledger.rules import change_of_rules
from kirby_common.ledger.tables import Context, Environment, Schedule, Script
from kirby_common.worker_protocol import RunGrant
from sqlalchemy import select, text

from tests.eventually import eventually
from tests.integration.ledger.world import World

SECOND = timedelta(seconds=1)


async def edit(world: World, context_id: UUID, *, paused: bool) -> list[UUID]:
    async with change_of_rules(world.engine, author="ann") as change:
        context = await change.session.get_one(Context, context_id)
        context.paused, context.pause_reason, context.paused_by = paused, "the source is down", "ann"
    return [r.id for r in change.too_late]


async def future(world: World, context_id: UUID) -> list[str]:
    now = datetime.now(UTC)
    return [r.status for r in await world.runs(context_id) if r.fire_at > now]


async def test_a_pause_skips_what_is_to_come_and_resuming_brings_back_the_same_rows(world: World) -> None:
    context = await world.context(every=10 * SECOND)
    await world.tick()
    ids = [r.id for r in await world.runs(context)]
    assert await edit(world, context, paused=True) == []
    rows = await world.runs(context)
    assert {r.status for r in rows} == {"SKIPPED"}
    assert rows[0].reason == "paused by ann: the source is down"
    await edit(world, context, paused=False)
    assert set(await future(world, context)) == {"PENDING"}
    assert [r.id for r in await world.runs(context)] == ids


async def test_a_pause_that_goes_on_is_one_row_that_grows(world: World) -> None:
    context = await world.context(every=SECOND)
    await edit(world, context, paused=True)
    for _ in range(3):
        await world.tick()
        await world.rewind(context, 60 * SECOND)
    await world.tick()
    rows = await world.runs(context)
    (pause,) = [r for r in rows if r.kind == "range" and r.status == "SKIPPED"]
    assert (pause.status, pause.reason) == ("SKIPPED", "paused by ann: the source is down")
    assert pause.range_to <= datetime.now(UTC)
    assert pause.range_count >= 60


async def test_resuming_starts_with_the_next_due_time(world: World) -> None:
    context = await world.context(every=SECOND)
    await edit(world, context, paused=True)
    await world.rewind(context, 60 * SECOND)
    await world.tick()
    await edit(world, context, paused=False)
    await world.tick()
    rows = await world.runs(context)
    ahead = [r for r in rows if r.due_at > datetime.now(UTC)]
    assert {r.status for r in ahead} == {"PENDING"}
    assert len(ahead) >= 28
    (pause,) = [r for r in rows if r.kind == "range" and r.status == "SKIPPED"]
    assert all(r.due_at > pause.range_to for r in rows if r.kind == "schedule")


async def test_a_claimed_run_that_is_paused_can_not_launch(world: World) -> None:
    context = await world.context(at=datetime.now(UTC) + 3 * SECOND)
    worker = await world.worker()
    await world.tick()
    (grant,) = await worker.claim()
    await edit(world, context, paused=True)
    assert [o.kind for o in (await worker.beat(grant)).orders] == ["forget"]
    (decision,) = await worker.launch(grant)
    assert not decision.ok
    assert [a.status for a in await world.attempts(grant.run_id)] == ["REVOKED"]


async def test_after_launching_a_pause_is_too_late_and_says_so(world: World) -> None:
    context = await world.context(at=datetime.now(UTC) + 3 * SECOND)
    worker = await world.worker()
    await world.tick()
    (grant,) = await worker.claim()
    await worker.launch(grant)
    assert await edit(world, context, paused=True) == [grant.run_id]
    assert (await world.run(grant.run_id)).status == "LAUNCHING"


async def test_a_new_schedule_replaces_the_due_times_to_come(world: World) -> None:
    context = await world.context(every=10 * SECOND)
    await world.tick()
    async with change_of_rules(world.engine, author="ann") as change:
        schedule = (await change.session.scalars(select(Schedule))).one()
        schedule.every_ms = 15_000
    rows = [r for r in await world.runs(context) if r.fire_at > datetime.now(UTC)]
    kept = {r.due_at for r in rows if r.status == "PENDING"}
    assert all(at.timestamp() % 15 == 0 for at in kept)
    assert {r.reason for r in rows if r.status == "SKIPPED"} <= {"no longer due: schedule changed by ann"}
    await world.tick()
    pending = [r for r in await world.runs(context) if r.status == "PENDING"]
    assert len({r.due_at for r in pending}) == len(pending) >= 2


async def test_old_due_times_are_judged_by_the_old_rules(world: World) -> None:
    context = await world.context(every=60 * SECOND)
    await world.rewind(context, timedelta(minutes=3))
    await edit(world, context, paused=True)
    past = [r for r in await world.runs(context) if r.due_at <= datetime.now(UTC)]
    assert [r.status for r in past] == ["MISSED"] * (len(past) - 1) + ["PENDING"]
    assert len(past) in {3, 4}


async def test_disabling_and_pausing_an_environment_reach_every_context(world: World) -> None:
    context = await world.context(every=10 * SECOND)
    await world.tick()
    async with change_of_rules(world.engine, author="ann") as change:
        env = (await change.session.scalars(select(Environment))).one()
        env.paused, env.pause_reason = True, "moving"
    assert set(await future(world, context)) == {"SKIPPED"}
    async with change_of_rules(world.engine, author="ann") as change:
        (await change.session.get_one(Context, context)).state = "disabled"
    assert (await world.runs(context))[-1].reason == "disabled by ann"
    assert await world.tick() == 0


async def test_a_run_that_fires_after_its_due_time_outlives_an_edit_in_between(world: World) -> None:
    context = await world.context(every=10 * SECOND, policies={"jitter": "1h"})
    await world.tick()
    # Its due time passes; it fires later, by jitter.
    (row, *_) = sorted(await world.runs(context), key=lambda r: r.due_at)
    await world.sql("UPDATE runs SET due_at = due_at - interval '60 s' WHERE id = :id", id=row.id)
    async with change_of_rules(world.engine, author="ann") as change:
        (await change.session.get_one(Context, context)).policies = {"jitter": "1h", "priority": 7}
    run = await world.run(row.id)
    assert (run.status, run.reason, run.priority) == ("PENDING", None, 7)
    await edit(world, context, paused=True)
    assert (await world.run(row.id)).status == "SKIPPED"


async def test_rules_that_can_not_be_read_are_refused_whole(world: World) -> None:
    context = await world.context(every=10 * SECOND)
    await world.tick()
    with pytest.raises(ValueError, match="jitter"):
        async with change_of_rules(world.engine, author="ann") as change:
            (await change.session.get_one(Context, context)).policies = {"jitter": "soon"}
    (row,) = await world.sql("SELECT policies FROM contexts WHERE id = :id", id=context)
    assert row.policies == {}


async def test_an_exception_skips_its_window_and_names_itself(world: World) -> None:
    context = await world.context(every=5 * SECOND)
    async with change_of_rules(world.engine, author="ann") as change:
        await change.session.execute(
            text(
                'INSERT INTO schedule_exceptions (scope, scope_ref, effect, every_nth, start, "end", reason, author)'
                " VALUES ('context', :ref, 'slow', 3, clock_timestamp(), clock_timestamp() + interval '1 day',"
                " 'the source is slow', 'ann')"
            ),
            {"ref": str(context)},
        )
    await world.tick()
    rows = await world.runs(context)
    expected = [("SKIPPED" if n % 3 else "PENDING") for n in range(len(rows))]
    assert [r.status for r in rows] == expected
    assert "slowed down to one in 3" in rows[1].reason
    assert "by ann: the source is slow" in rows[1].reason


async def enable(world: World, context_id: UUID, version: str) -> None:
    """As a deployment does: another version, enabled in the same change."""
    async with change_of_rules(world.engine, author="ann") as change:
        script = Script(package_name="hello-prod", package_version=version)
        change.session.add(script)
        await change.session.flush()
        context = await change.session.get_one(Context, context_id)
        context.script_id, context.state = script.id, "enabling"
        await change.session.flush()
        lock = await locks.want(change.session, "hello-prod", version)
        await locks.resolved(change.session, lock.id, lock_text="x", requires_python=None, error=None, transient=False)
        await locks.enable(change.session, context_id)


async def test_a_new_version_takes_over_the_due_times_to_come(world: World) -> None:
    context = await world.context(every=5 * SECOND)
    await world.tick()
    ids = {r.id for r in await world.runs(context) if r.fire_at > datetime.now(UTC) + SECOND}
    await enable(world, context, "2.0")
    await world.tick()
    rows = [r for r in await world.runs(context) if r.fire_at > datetime.now(UTC)]
    assert {(r.status, r.package_version) for r in rows} == {("PENDING", "2.0")}
    assert ids <= {r.id for r in rows}
    assert len({r.due_at for r in rows}) == len(rows) >= 5


async def test_disabled_and_enabled_again_leaves_no_due_time_out(world: World) -> None:
    context = await world.context(every=5 * SECOND)
    await world.tick()
    async with change_of_rules(world.engine, author="ann") as change:
        (await change.session.get_one(Context, context)).state = "disabled"
    assert set(await future(world, context)) == {"SKIPPED"}
    async with world.engine.begin() as tx:
        assert await locks.enable(tx, context) == "enabled"
    await world.tick()
    rows = [r for r in await world.runs(context) if r.fire_at > datetime.now(UTC)]
    assert {r.status for r in rows} == {"PENDING"}
    assert len(rows) >= 5


async def test_a_change_of_many_contexts_and_a_beat_do_not_wait_for_each_other(world: World) -> None:
    worker = await world.worker()
    grants: dict[UUID, RunGrant] = {}
    while not (pair := _crossed(grants)):
        context = await world.context(job=f"job-{len(grants)}", at=datetime.now(UTC) + 5 * SECOND)
        await world.tick()
        (grants[context],) = await worker.claim()
    first, last = pair
    mine = text("SELECT beat FROM attempts WHERE run_id = :run FOR UPDATE")

    async def pause() -> None:
        async with change_of_rules(world.engine, author="ann") as change:
            (await change.session.scalars(select(Environment))).one().paused = True

    async def waits() -> bool:
        return bool(await world.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

    async with world.engine.begin() as beat:
        await beat.execute(mine, {"run": first})
        changing = asyncio.create_task(pause())
        await eventually(waits, what="the change, which waits for the beat")
        await beat.execute(mine, {"run": last})
    await changing
    assert {r.status for r in await world.runs() if r.kind == "schedule"} == {"SKIPPED"}


def _crossed(grants: dict[UUID, RunGrant]) -> tuple[UUID, UUID] | None:
    """Two runs, in the order of their ids, whose contexts are in the other order."""
    runs = [(context, grants[context].run_id) for context in sorted(grants)]
    return next(((late, early) for (_, early), (_, late) in combinations(runs, 2) if late < early), None)
