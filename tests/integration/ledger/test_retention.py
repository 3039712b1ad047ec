"""Retention on a real ledger: months go as a whole, and nothing that is still going on ever does."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from kirby_common.ledger import triggers
from kirby_common.ledger.schema import end_of_month, ensure_partitions
from kirby_scheduler.loops import retention

from tests.integration.ledger.world import World

KEEP = timedelta(days=90)
LONG_AGO = datetime.now(UTC) - timedelta(days=200)
MONTH = f"runs_{LONG_AGO:%Y_%m}"


async def retain(world: World) -> int:
    return await retention.retain(await world.term(), keep=KEEP, keep_revisions=timedelta(days=365))


async def aged(
    world: World, context: UUID, *, status: str = "SUCCEEDED", when: datetime = LONG_AGO, **sets: Any
) -> UUID:
    """A run in that status, made so long ago."""
    async with world.engine.begin() as tx:
        made = await triggers.trigger(tx, context_id=context, principal="ann", key=str(uuid4()))
    more = "".join(f", {name} = :{name}" for name in sets)
    await world.sql(
        f"UPDATE runs SET created_at = :at, fire_at = :at, status = :status{more} WHERE id = :id",
        at=when, status=status, id=made.run_id, **sets,
    )  # fmt: skip
    return made.run_id


async def context(world: World) -> UUID:
    async with world.engine.begin() as tx:
        await ensure_partitions(tx, now=LONG_AGO, months=1)
    return await world.context()


async def ids(world: World, table: str, column: str) -> set[UUID]:
    return {row[0] for row in await world.sql(f"SELECT {column} FROM {table}")}


async def exists(world: World, table: str) -> bool:
    (row,) = await world.sql("SELECT to_regclass(:name) IS NOT NULL AS there", name=table)
    return bool(row.there)


async def test_a_month_in_which_all_is_over_goes_as_a_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    job = await context(world)
    for status in ("SUCCEEDED", "FAILED", "SKIPPED", "MISSED", "LOST"):
        await aged(world, job, status=status)
    young = await aged(world, job, when=datetime.now(UTC))
    assert await retain(world) == 5
    assert not await exists(world, MONTH)
    assert await ids(world, "runs", "id") == await ids(world, "run_keys", "run_id") == {young}


@pytest.mark.parametrize(
    ("status", "sets"),
    [
        *((status, {}) for status in ("PENDING", "CLAIMED", "LAUNCHING", "RUNNING", "RETRYING")),
        ("LOST", {"unfenced": True}),
        ("SKIPPED", {"kind": "range", "range_to": datetime.now(UTC)}),
        ("SUCCEEDED", {"ended_at": datetime.now(UTC)}),
    ],
)
async def test_what_still_goes_on_in_an_old_month_stays(world: World, status: str, sets: dict[str, Any]) -> None:
    job = await context(world)
    live = await aged(world, job, status=status, **sets)
    await aged(world, job)
    assert await retain(world) == 1
    assert await exists(world, MONTH)
    assert await ids(world, "runs", "id") == await ids(world, "run_keys", "run_id") == {live}


async def test_a_run_that_comes_back_to_life_meanwhile_keeps_its_month(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost run is found between the look at its month and the lock."""
    job = await context(world)
    lost = await aged(world, job, status="LOST")
    monkeypatch.setattr(retention, "_OLD", "(true OR created_at > :before OR status = ANY(:ended))")
    await world.sql("UPDATE runs SET status = 'RUNNING' WHERE id = :id", id=lost)
    term = await world.term()
    await retention._detach(term, MONTH, datetime.now(UTC))
    assert await ids(world, "runs", "id") == {lost}


async def test_a_new_leader_finishes_what_the_former_began(world: World) -> None:
    job = await context(world)
    await aged(world, job)
    await world.sql(f"ALTER TABLE runs DETACH PARTITION {MONTH}")
    assert await ids(world, "runs", "id") == set()
    assert len(await ids(world, "run_keys", "run_id")) == 1
    assert await retain(world) == 1
    assert not await exists(world, MONTH)
    assert await ids(world, "run_keys", "run_id") == set()


async def test_a_month_that_others_read_is_left_for_the_next_pass(world: World) -> None:
    job = await context(world)
    await aged(world, job)
    async with world.engine.begin() as reader:
        await reader.exec_driver_sql("SELECT count(*) FROM runs")
        await retention._detach(await world.term(), MONTH, datetime.now(UTC) - KEEP)
        assert await exists(world, MONTH)
    assert await retain(world) == 1
    assert not await exists(world, MONTH)


async def test_runs_of_a_month_that_had_no_partition_move_into_it(world: World) -> None:
    then = datetime.now(UTC) + timedelta(days=400)
    run = await aged(world, await context(world), when=then)
    async with world.engine.begin() as tx:
        await ensure_partitions(tx, now=then, months=1)
    assert await ids(world, "runs_default", "id") == set()
    assert await ids(world, f"runs_{then:%Y_%m}", "id") == {run}


async def test_of_each_thing_the_last_revision_stays(world: World) -> None:
    for entity, rev, days in (("a", 1, 500), ("a", 2, 400), ("b", 1, 400), ("b", 2, 1)):
        await world.sql(
            "INSERT INTO revisions (kind, entity_id, rev, action, author, at)"
            " VALUES ('job', :entity, :rev, 'update', 'ann', :at)",
            entity=entity, rev=rev, at=datetime.now(UTC) - timedelta(days=days),
        )  # fmt: skip
    await retain(world)
    left = await world.sql("SELECT entity_id, rev FROM revisions WHERE kind = 'job' ORDER BY entity_id, rev")
    assert [(row.entity_id, row.rev) for row in left] == [("a", 2), ("b", 2)]


@pytest.mark.parametrize(("name", "beyond"), [("runs_2026_11", (2026, 12)), ("runs_2026_12", (2027, 1))])
def test_the_end_of_a_month(name: str, beyond: tuple[int, int]) -> None:
    assert end_of_month(name) == datetime(*beyond, 1, tzinfo=UTC)
