"""The tick on a real ledger: every due time gets one row, whoever ticks and however often."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from kirby_common.ledger import materialise, places
from kirby_scheduler.term import Deposed

from tests.eventually import eventually
from tests.integration.ledger.world import World

SECOND = timedelta(seconds=1)


async def test_writes_down_what_is_due_up_to_the_horizon(world: World) -> None:
    context = await world.context(every=10 * SECOND)
    due = await world.tick_over(context, 10 * SECOND)
    rows = await world.runs(context)
    assert [r.due_at for r in rows] == due
    assert {r.status for r in rows} == {"PENDING"}
    assert all(r.deadline_at - r.fire_at == timedelta(minutes=5) for r in rows)


async def test_ticking_again_inserts_nothing(world: World) -> None:
    context = await world.context(every=timedelta(hours=1))
    await world.rewind(context, timedelta(hours=1))
    assert await world.tick() == 1
    assert await world.tick() == 0


async def test_a_horizon_set_back_inserts_nothing_twice(world: World) -> None:
    context = await world.context(every=10 * SECOND)
    await world.tick()
    await world.rewind(context, 20 * SECOND)
    before = {r.id for r in await world.runs(context)}
    await world.tick()
    after = await world.runs(context)
    assert before <= {r.id for r in after}
    assert len({r.due_at for r in after}) == len(after)


async def test_two_leaders_ticking_at_once_make_one_row_per_due_time(world: World) -> None:
    for n in range(20):
        await world.context(job=f"job-{n}", every=5 * SECOND)
    term = await world.term()
    await asyncio.gather(*(world.tick(term) for _ in range(4)))
    rows = await world.runs()
    assert len({(r.context_id, r.due_at) for r in rows}) == len(rows) >= 120


async def test_a_tick_and_who_locks_the_same_contexts_do_not_lock_each_other_out(world: World) -> None:
    """The tick sees first to what is due first, others go by id; neither may hold what the other needs."""
    first, second = sorted([await world.context(job=job, every=10 * SECOND) for job in ("one", "two")])
    await world.sql("UPDATE contexts SET next_due_at = next_due_at + interval '1 second' WHERE id = :id", id=first)

    async def waits() -> bool:
        return bool(await world.sql("SELECT 1 FROM pg_locks WHERE NOT granted"))

    async with world.engine.begin() as other:
        await places.lock_contexts(other, [first])
        ticking = asyncio.create_task(world.tick())
        await eventually(waits)
        await places.lock_contexts(other, [second])
    assert await ticking >= 6


async def test_two_schedules_due_together_are_one_run(world: World) -> None:
    context = await world.context(every=10 * SECOND, cron="*/10 * * * * *")
    due = await world.tick_over(context, 10 * SECOND)
    assert [r.due_at for r in await world.runs(context)] == due


async def test_the_same_job_in_two_environments_is_two_runs(world: World) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + 10 * SECOND
    await world.context(env="prod", at=at)
    await world.context(env="test", at=at)
    await world.tick()
    rows = await world.runs()
    assert [r.due_at for r in rows] == [at, at]
    assert {r.env for r in rows} == {"prod", "test"}


async def test_a_deposed_leader_writes_nothing(world: World) -> None:
    context = await world.context(every=10 * SECOND)
    old = await world.term()
    await world.term()
    with pytest.raises(Deposed):
        await world.tick(old)
    assert await world.runs(context) == []


async def test_after_an_outage_the_last_due_time_fires_and_the_others_are_told(world: World) -> None:
    context = await world.context(every=60 * SECOND)
    await world.rewind(context, timedelta(minutes=10))
    await world.tick()
    now = datetime.now(UTC)
    past = [r for r in await world.runs(context) if r.due_at <= now]
    assert [r.status for r in past] == ["MISSED"] * (len(past) - 1) + ["PENDING"]
    assert len(past) in {9, 10, 11}
    assert "misfire=fire_once" in past[0].reason
    assert past[-1].deadline_at > now


async def test_a_long_outage_becomes_a_range_row(world: World) -> None:
    context = await world.context(every=SECOND)
    await world.rewind(context, timedelta(hours=2))
    await world.tick()
    (range_row,) = [r for r in await world.runs(context) if r.kind == "range"]
    assert range_row.status == "MISSED"
    assert range_row.range_count == (range_row.range_to - range_row.due_at).total_seconds() + 1
    assert 7190 < range_row.range_count < 7210


async def test_catching_up_after_an_outage_comes_after_what_is_due_now(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes several transactions; the first one has what is due now."""
    monkeypatch.setattr(materialise, "_MOST_PER_TRANSACTION", 100)
    behind = [await world.context(job=f"behind-{n}", every=SECOND) for n in range(3)]
    for context in behind:
        await world.rewind(context, timedelta(minutes=50))
    timely = await world.context(job="timely", every=10 * SECOND)
    await world.tick()
    written = await world.sql(
        "SELECT DISTINCT context_id, xmin::text::int AS written FROM runs WHERE kind = 'schedule'"
    )
    assert min(row.written for row in written) in {row.written for row in written if row.context_id == timely}
    assert len({row.written for row in written}) >= 4
    for context in behind:
        past = [r for r in await world.runs(context) if r.due_at <= datetime.now(UTC)]
        assert [r.status for r in past if r.kind == "range"] == ["MISSED"]
        assert sum(r.range_count or 1 for r in past) > 2990


async def test_a_context_that_can_not_be_decided_is_set_aside_and_the_others_go_on(world: World) -> None:
    bad = await world.context(job="bad", every=10 * SECOND)
    good = await world.context(job="good", every=10 * SECOND)
    await world.sql('UPDATE contexts SET policies = \'{"jitter": "soon"}\' WHERE id = :id', id=bad)
    due = await world.tick_over(good, 10 * SECOND)
    assert [r.due_at for r in await world.runs(good)] == due
    assert await world.runs(bad) == []
    (row,) = await world.sql("SELECT set_aside FROM contexts WHERE id = :id", id=bad)
    assert "jitter" in row.set_aside


async def test_an_at_schedule_is_due_once(world: World) -> None:
    context = await world.context(at=datetime.now(UTC) + 5 * SECOND)
    await world.tick()
    await world.tick()
    assert len(await world.runs(context)) == 1
    (row,) = await world.sql("SELECT next_due_at FROM contexts WHERE id = :id", id=context)
    assert row.next_due_at is None


async def test_a_context_waits_for_its_lock_and_is_enabled_by_itself(world: World) -> None:
    context = await world.context(every=10 * SECOND, ready=False)
    assert await world.tick() == 0
    (row,) = await world.sql("SELECT state, state_reason FROM contexts WHERE id = :id", id=context)
    assert (row.state, row.state_reason) == ("enabling", "no lock yet: being resolved")
    (lock,) = await world.sql("SELECT id FROM locks")
    async with world.engine.begin() as tx:
        await world.resolve(tx, lock.id, error="hello==1.0 is not on any index")
    (row,) = await world.sql("SELECT state, state_reason FROM contexts WHERE id = :id", id=context)
    assert row.state_reason == "no lock yet: hello==1.0 is not on any index"
    async with world.engine.begin() as tx:
        await world.resolve(tx, lock.id)
    due = await world.tick_over(context, 10 * SECOND)
    assert [r.due_at for r in await world.runs(context)] == due
