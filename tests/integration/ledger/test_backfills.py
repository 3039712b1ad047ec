"""Backfills on a real ledger: every past due time once, so many at a time, whoever dies in between."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from kirby_common import failpoints
from kirby_common.failpoints import FailpointError
from kirby_common.ledger import backfill_orders, backfills, triggers
from kirby_common.ledger.backfill_orders import BadRange, WantedBackfill
from kirby_common.ledger.ids import _NAMESPACE
from kirby_common.ledger.rules import change_of_rules
from kirby_common.ledger.tables import Job
from kirby_common.topics import DEFAULT_OFFERS_PREFIX
from kirby_scheduler.loops.backfill import fill
from kirby_scheduler.term import Deposed, Term
from sqlalchemy import select

from tests.integration.ledger.world import World

HOUR = timedelta(hours=1)
END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=2)


async def backfill(world: World, context: UUID, *, hours: int, **wanted: Any) -> UUID:
    """A backfill of the `hours` hours before END."""
    asked = WantedBackfill(context, END - hours * HOUR, END, **wanted)
    async with world.engine.begin() as tx:
        view, stretch = await backfill_orders.planned(tx, asked, now=datetime.now(UTC))
        row = await backfill_orders.start(tx, asked, view, total=stretch.count(most=10_000), by="ann")
    return row.id  # type: ignore[no-any-return]


async def passed(world: World, term: Term | None = None) -> None:
    """The leader's look."""
    await fill(term or await world.term(), offers_prefix=DEFAULT_OFFERS_PREFIX)


async def state(world: World, backfill_id: UUID) -> Any:
    async with world.engine.connect() as tx:
        statement = select(backfills.backfills).where(backfills.backfills.c.id == backfill_id)
        return (await tx.execute(statement)).one()


async def statuses(world: World, backfill_id: UUID) -> Mapping[str, int]:
    async with world.engine.connect() as tx:
        return (await backfills.counts(tx, [backfill_id]))[backfill_id]


async def worked_off(world: World, backfill_id: UUID, *, most: int = 500) -> list[datetime]:
    """Plays leader and worker until the backfill is done; returns the due times in the order of their starts."""
    worker = await world.worker(f"off-{backfill_id}")
    term = await world.term()
    order: list[datetime] = []
    for _ in range(most):
        await passed(world, term)
        if (await state(world, backfill_id)).state == "done":
            return order
        for grant in await worker.claim():
            await worker.start(grant)
            await worker.end(grant)
            assert grant.due_at is not None
            order.append(grant.due_at)
    raise AssertionError(f"not done after {most} looks: {await statuses(world, backfill_id)}")


async def test_every_due_time_of_the_range_runs_once_the_oldest_first(world: World) -> None:
    context = await world.context(every=HOUR)
    made = await backfill(world, context, hours=25)
    assert await worked_off(world, made) == [END - (25 - n) * HOUR for n in range(25)]
    row = await state(world, made)
    assert (row.total, row.made, row.left_alone) == (25, 25, 0)
    run = (await world.runs(context))[0]
    key = f"{context}|backfill|{made}|{round(run.due_at.timestamp() * 1000)}"
    assert (run.kind, run.id) == ("backfill", uuid5(_NAMESPACE, key))
    assert run.requested_by == "ann"


async def test_the_newest_first_when_asked_for_and_flagged_as_a_rerun(world: World) -> None:
    context = await world.context(every=HOUR)
    made = await backfill(world, context, hours=30, newest_first=True, rerun=True, concurrency=7)
    assert await worked_off(world, made) == [END - (n + 1) * HOUR for n in range(30)]
    assert {run.rerun for run in await world.runs(context)} == {True}


async def test_no_more_than_its_concurrency_are_let_go_and_rows_appear_as_they_end(world: World) -> None:
    context = await world.context(every=HOUR)
    made = await backfill(world, context, hours=1000, concurrency=3)
    worker = await world.worker()
    for _ in range(3):
        await passed(world)
    grants = await worker.claim(100)
    assert len(grants) == 3
    assert len(await world.runs(context)) == 3 + backfills.AHEAD
    assert await worker.claim(100) == []
    for grant in grants[:2]:
        await worker.start(grant)
        await worker.end(grant)
    async with world.engine.begin() as tx:
        assert await backfills.let_go(tx, made, offers_prefix=DEFAULT_OFFERS_PREFIX) == 2
    assert len(await worker.claim(100)) == 2


async def test_what_ran_is_left_alone_and_what_was_missed_is_run(world: World) -> None:
    context = await world.context(every=HOUR)
    first = await backfill(world, context, hours=10)
    await worked_off(world, first)
    ids = [r.id for r in sorted(await world.runs(context), key=lambda r: r.due_at)]
    await world.sql("UPDATE runs SET status = 'MISSED' WHERE id = :id", id=ids[3])
    await world.sql("UPDATE runs SET status = 'FAILED' WHERE id = :id", id=ids[5])
    second = await backfill(world, context, hours=12)
    assert await worked_off(world, second) == [END - n * HOUR for n in (12, 11, 7)]
    assert (await state(world, second)).left_alone == 9
    third = await backfill(world, context, hours=12, existing="failed")
    assert await worked_off(world, third) == [END - 5 * HOUR]
    fourth = await backfill(world, context, hours=12, existing="anew")
    assert len(await worked_off(world, fourth)) == 12


@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_leader_that_dies_in_the_middle_loses_and_doubles_nothing(world: World, newest_first: bool) -> None:
    """Each leader but the last dies after it has written and before it commits; the old ones may not write any more."""
    context = await world.context(every=HOUR)
    made = await backfill(world, context, hours=60, concurrency=20, newest_first=newest_first)
    worker = await world.worker()
    deposed: list[Term] = []
    for _ in range(60):
        failpoints.arm({"TESTING": "1", "KIRBY_FAILPOINT": "backfill.before_commit:error"})
        term = await world.term()
        before = await world.runs(context)
        try:
            with suppress(FailpointError):
                await passed(world, term)
        finally:
            failpoints.arm({})
        assert await world.runs(context) == before
        heir = await world.term()
        await passed(world, heir)
        with pytest.raises(Deposed):
            await passed(world, term)
        deposed.append(term)
        for grant in await worker.claim():
            await worker.start(grant)
            await worker.end(grant)
        if len(await world.runs(context)) == 60 and (await statuses(world, made)).get("SUCCEEDED") == 60:
            break
    await passed(world)
    assert (await state(world, made)).state == "done"
    assert {r.due_at for r in await world.runs(context)} == {END - (n + 1) * HOUR for n in range(60)}
    assert len(await world.runs(context)) == 60


async def test_a_paused_backfill_starts_nothing_until_it_is_resumed(world: World) -> None:
    context = await world.context(every=HOUR)
    made = await backfill(world, context, hours=10, concurrency=2)
    worker = await world.worker()
    await passed(world)
    running, claimed = await worker.claim()
    await worker.start(running)
    async with world.engine.begin() as tx:
        ordered = await backfill_orders.pause(tx, made, by="bob", reason="the source is down")
    assert ordered.running == [running.run_id]
    assert ordered.row.reason == "paused by bob: the source is down"
    assert not (await worker.launch(claimed))[0].ok
    await worker.end(running)
    await passed(world)
    assert await worker.claim() == []
    async with world.engine.begin() as tx:
        with pytest.raises(triggers.Conflict, match="is paused: it can't be paused"):
            await backfill_orders.pause(tx, made, by="bob")
        await backfill_orders.resume(tx, made, by="bob")
    assert [g.due_at for g in await worker.claim()] == []
    assert (await worked_off(world, made))[0] == END - 9 * HOUR


async def test_a_cancelled_backfill_takes_back_what_waits_and_kills_when_asked(world: World) -> None:
    context = await world.context(every=HOUR)
    made = await backfill(world, context, hours=100, concurrency=2)
    worker = await world.worker()
    await passed(world)
    running, claimed = await worker.claim()
    await worker.start(running)
    async with world.engine.begin() as tx:
        ordered = await backfill_orders.cancel(
            tx, made, by="bob", reason="wrong month", kill=True, offers_prefix=DEFAULT_OFFERS_PREFIX
        )
    assert ordered.running == [running.run_id]
    assert [o.kind for o in (await worker.beat(running)).orders] == ["kill"]
    assert not (await worker.launch(claimed))[0].ok
    await passed(world)
    by_status = await statuses(world, made)
    assert by_status == {"RUNNING": 1, "CANCELLED": 1 + backfills.AHEAD}
    assert (await world.run(claimed.run_id)).reason == "backfill cancelled by bob: wrong month"
    async with world.engine.begin() as tx:
        with pytest.raises(triggers.Conflict, match="is cancelled: it can't be resumed"):
            await backfill_orders.resume(tx, made, by="bob")


async def test_it_waits_while_its_job_is_paused_and_says_so(world: World) -> None:
    context = await world.context(every=HOUR)
    made = await backfill(world, context, hours=5)
    async with change_of_rules(world.engine, author="ann") as change:
        job = (await change.session.scalars(select(Job).where(Job.name == "hello"))).one()
        job.paused, job.pause_reason, job.paused_by = True, "month's end", "ann"
    await passed(world)
    worker = await world.worker()
    assert await worker.claim() == []
    assert (await state(world, made)).reason == "waits: job hello is paused by ann: month's end"
    async with change_of_rules(world.engine, author="ann") as change:
        (await change.session.scalars(select(Job).where(Job.name == "hello"))).one().paused = False
    assert len(await worked_off(world, made)) == 5
    assert (await state(world, made)).reason is None


async def test_a_live_due_time_is_neither_blocked_nor_kept_waiting_by_a_backfill(world: World) -> None:
    context = await world.context(every=timedelta(seconds=10))
    await backfill(world, context, hours=1, concurrency=2)
    worker = await world.worker()
    await passed(world)
    (past,) = await worker.claim(1)
    await worker.start(past)
    await world.sql("UPDATE contexts SET horizon = horizon - interval '10 s' WHERE id = :id", id=context)
    await world.tick()
    first, *_ = await worker.claim(10)
    assert first.kind == "schedule"
    (decision,) = await worker.launch(first)
    assert decision.ok


async def test_a_backfill_whose_context_is_gone_ends_and_says_why(world: World) -> None:
    context = await world.context(every=HOUR)
    made = await backfill(world, context, hours=5)
    await world.sql("DELETE FROM contexts WHERE id = :id", id=context)
    await passed(world)
    row = await state(world, made)
    assert (row.state, row.reason) == ("cancelled", "hello is no longer in prod")


async def test_what_can_not_be_backfilled_is_refused_with_what_to_do(world: World) -> None:
    unscheduled = await world.context(job="manual")
    with pytest.raises(triggers.NotTriggerable, match="has no schedule"):
        await backfill(world, unscheduled, hours=1)
    context = await world.context(every=HOUR)
    with pytest.raises(BadRange, match="begin before it ends"):
        await backfill(world, context, hours=0)
    async with world.engine.begin() as tx:
        future = WantedBackfill(context, END, datetime.now(UTC) + HOUR)
        with pytest.raises(BadRange, match="ends in the future"):
            await backfill_orders.planned(tx, future, now=datetime.now(UTC))
