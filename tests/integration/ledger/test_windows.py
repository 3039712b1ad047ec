"""Exceptions and pauses on a real ledger: what a window skips is told, and it ends without anybody's doing."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from kirby_common.ledger import contexts
from kirby_common.ledger.rules import change_of_rules
from kirby_common.ledger.tables import ScheduleException
from kirby_common.ledger.transitions import Status
from sqlalchemy import delete, text
from sqlalchemy.ext.asyncio import AsyncSession

from tests.integration.ledger.world import HORIZON, World

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


async def exception(world: World, scope: str, ref: object, **fields: Any) -> UUID:
    """As the api adds one; from a day ago on unless said otherwise."""
    values = {"start": datetime.now(UTC) - timedelta(days=1), "reason": "the source is slow", "author": "ann"}
    async with change_of_rules(world.engine, author="ann") as change:
        row = ScheduleException(scope=scope, scope_ref=str(ref), **{**values, **fields})
        change.session.add(row)
        await change.session.flush()
        return row.id


async def standing(world: World, context: UUID, **fields: Any) -> None:
    """An exception that has been there for longer than the context's due times."""
    async with AsyncSession(world.engine) as session, session.begin():
        values = {"start": datetime.now(UTC) - timedelta(days=30), "reason": "moving", "author": "ann"}
        session.add(ScheduleException(scope="context", scope_ref=str(context), **{**values, **fields}))


async def test_a_slow_down_names_itself_and_ends_by_itself(world: World) -> None:
    """N8, on a job of every second: four of five are skipped until it ends; nobody changes the rules after that."""
    context = await world.context(every=SECOND)
    start = datetime.now(UTC).replace(microsecond=0) + 10 * SECOND
    end = start + 15 * SECOND
    made = await exception(world, "context", context, effect="slow", every_nth=5, start=start, end=end)
    await world.tick()
    rows = [r for r in await world.runs(context) if r.due_at >= start]
    within = [r for r in rows if r.due_at < end]
    assert [r.status for r in within] == ["PENDING", *["SKIPPED"] * 4] * 3
    assert {r.status for r in rows if r.due_at >= end} == {"PENDING"}
    reason = f"slowed down to one in 5, exception {str(made)[:8]} by ann: the source is slow"
    assert {r.reason for r in within if r.status == "SKIPPED"} == {reason}


async def test_after_a_pause_of_an_exception_the_runs_are_there_ahead_of_time(world: World) -> None:
    """What lies behind the end of a pause is written down before the pause is over."""
    context = await world.context(every=SECOND)
    end = datetime.now(UTC).replace(microsecond=0) + 20 * SECOND
    await standing(world, context, end=end)
    await world.rewind(context, 5 * SECOND)
    await world.tick()
    rows = await world.runs(context)
    assert {r.status for r in rows if r.due_at >= end} == {"PENDING"}
    ahead = [r for r in rows if r.due_at < end and r.kind == "schedule"]
    assert {r.status for r in ahead} == {"SKIPPED"}
    now = datetime.now(UTC)
    assert all(r.range_to <= now for r in rows if r.kind == "range")


async def test_a_paused_context_is_looked_at_when_its_due_time_has_passed(world: World) -> None:
    """Until then it takes no place in the batch of those that are due: any number may be paused."""
    for n in range(3):
        await exception(world, "context", await world.context(job=f"job-{n}", every=20 * SECOND))
    await world.tick()
    await world.tick()
    async with world.engine.connect() as tx:
        now = datetime.now(UTC)
        due = await contexts.load_due(tx, until=now + HORIZON, now=now - timedelta(minutes=1), limit=10)
    assert due == []
    held = await world.sql("SELECT held, next_due_at FROM contexts")
    assert {row.held for row in held} == {True}


async def test_a_pause_during_an_outage_is_one_range_row_however_long(world: World) -> None:
    context = await world.context(every=SECOND)
    await standing(world, context)
    await world.rewind(context, timedelta(hours=2))
    await world.tick()
    rows = await world.runs(context)
    (pause,) = [r for r in rows if r.kind == "range"]
    assert pause.status == "SKIPPED"
    assert pause.range_count > 7100
    assert pause.range_count == (pause.range_to - pause.due_at).total_seconds() + 1


async def test_two_pauses_of_one_reason_with_runs_between_them_are_two_ranges(world: World) -> None:
    context = await world.context(every=SECOND)
    await standing(world, context, recurrence="* * * * *", lasts_ms=20_000)
    await world.rewind(context, timedelta(minutes=5))
    await world.tick()
    rows = sorted(await world.runs(context), key=lambda r: r.due_at)
    past = [r for r in rows if r.due_at <= datetime.now(UTC)]
    ranges = [r for r in past if r.kind == "range"]
    assert len(ranges) in {5, 6}
    assert all(r.range_count <= 20 for r in ranges)
    assert all((r.range_to - r.due_at).total_seconds() + 1 == r.range_count for r in ranges)
    told = {r.due_at for r in past if r.kind == "schedule"}
    assert not any(r.due_at <= at <= r.range_to for r in ranges for at in told)


async def test_a_recurring_window_holds_years_after_it_was_made(world: World) -> None:
    context = await world.context(every=5 * SECOND)
    start = datetime.now(UTC) - timedelta(days=2000)
    await exception(world, "context", context, start=start, recurrence="*/2 * * * *", lasts_ms=120_000)
    since = datetime.now(UTC)
    await world.tick()
    async with world.engine.connect() as tx:
        (view,) = await contexts.load(tx, [context])
    assert [w.recurrence for w in view.rules.windows] == ["*/2 * * * *"]
    assert {r.status for r in await world.runs(context) if r.due_at > since} <= {"SKIPPED"}


async def test_an_ended_window_still_judges_what_an_outage_left_behind(world: World) -> None:
    context = await world.context(every=MINUTE)
    await world.rewind(context, timedelta(days=10))
    end = datetime.now(UTC) - timedelta(days=3)
    await standing(world, context, start=end - timedelta(days=1), end=end)
    await world.tick()
    (pause,) = [r for r in await world.runs(context) if r.status == "SKIPPED"]
    assert pause.range_count == 1440


@pytest.mark.parametrize("scope", ["job", "environment", "context", "label", "schedule"])
async def test_what_it_is_on_decides_whom_it_covers(world: World, scope: str) -> None:
    inside = await world.context(job="inside", env="prod", every=5 * SECOND)
    outside = await world.context(job="outside", env="test", every=5 * SECOND)
    await world.sql("""UPDATE jobs SET labels = '{"team": "a=b"}' WHERE name = 'inside'""")
    (row,) = await world.sql(
        "SELECT c.id AS context, job_id AS job, environment_id AS environment, schedule_id AS schedule,"
        " 'team=a=b' AS label FROM contexts c JOIN context_schedules ON context_id = c.id WHERE c.id = :id",
        id=inside,
    )
    ref = str(getattr(row, scope))
    await exception(world, scope, ref)
    since = datetime.now(UTC)
    await world.tick()
    assert {r.status for r in await world.runs(inside) if r.due_at > since} <= {Status.SKIPPED}
    assert {r.status for r in await world.runs(outside)} == {Status.PENDING}
    async with world.engine.connect() as tx:
        found = await contexts.covered(tx, scope=scope, ref=ref, limit=10)
    assert [view.id for view in found] == [inside]


async def test_due_times_of_another_cron_are_runs_like_any_other(world: World) -> None:
    context = await world.context(cron="0 0 1 1 *")
    made = await exception(world, "context", context, effect="slow", cron="*/5 * * * * *")
    await world.tick()
    rows = await world.runs(context)
    assert {r.status for r in rows} == {"PENDING"}
    assert len(rows) >= 5
    assert all(r.due_at.second % 5 == 0 for r in rows)
    async with change_of_rules(world.engine, author="ann") as change:
        await change.session.delete(await change.session.get_one(ScheduleException, made))
    left = [r for r in await world.runs(context) if r.due_at > datetime.now(UTC) and r.status == "PENDING"]
    assert left == []


async def test_a_range_row_is_not_told_twice_when_the_clock_was_set_back(world: World) -> None:
    """The database's clock stepped back: a range row seems to reach ahead, and a change of rules leaves it alone."""
    context = await world.context(every=SECOND)
    await standing(world, context)
    await world.rewind(context, MINUTE)
    await world.tick()
    await world.sql(
        "UPDATE runs SET range_to = range_to + interval '20 s', range_count = range_count + 20 WHERE kind = 'range'"
    )
    await world.rewind(context, -20 * SECOND)
    async with change_of_rules(world.engine, author="ann") as change:
        await change.session.execute(delete(ScheduleException))
    await world.tick()
    rows = await world.runs(context)
    (pause,) = [r for r in rows if r.kind == "range"]
    singles = [r.due_at for r in rows if r.kind == "schedule"]
    assert singles
    assert min(singles) == pause.range_to + SECOND


async def test_each_of_many_exceptions_is_found_by_what_it_is_on(world: World) -> None:
    await world.context(every=5 * SECOND)
    await world.sql(
        "INSERT INTO schedule_exceptions (scope, scope_ref, start, reason, author)"
        " SELECT 'context', gen_random_uuid()::text, clock_timestamp(), 'x', 'ann' FROM generate_series(1, 2000)"
    )
    await world.sql("ANALYZE schedule_exceptions")
    async with world.engine.connect() as tx:
        plan = (await tx.execute(text(f"EXPLAIN {contexts.FINGERPRINTS}"))).scalars().all()
    assert any("ix_schedule_exceptions_on" in line for line in plan), plan
