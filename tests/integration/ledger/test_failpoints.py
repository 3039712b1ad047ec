"""The failpoints of the ledger's writers: what had begun is undone or told again, and nothing doubles."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from kirby_api.ledger_role.recorder import Recorder
from kirby_common import failpoints
from kirby_common.failpoints import FailpointError
from kirby_common.ledger import triggers
from kirby_common.ledger.outbox import flush
from kirby_common.ledger.rules import change_of_rules
from kirby_common.ledger.tables import Context
from kirby_common.testing.bus import MemoryBus
from kirby_common.topics import DEFAULT_OFFERS_PREFIX, registry
from kirby_scheduler.loops.reap import settle

from tests.eventually import eventually
from tests.integration.ledger.test_recorder import Shipper, pointers
from tests.integration.ledger.world import World

SECOND = timedelta(seconds=1)


@contextmanager
def armed(point: str) -> Iterator[None]:
    failpoints.arm({"TESTING": "1", "KIRBY_FAILPOINT": point})
    try:
        yield
    finally:
        failpoints.arm({})


async def test_a_tick_that_fails_before_its_commit_has_written_nothing(world: World) -> None:
    context = await world.context(every=SECOND)
    with armed("tick.before_commit:error"), pytest.raises(FailpointError):
        await world.tick()
    assert await world.runs(context) == []
    due = await world.tick_over(context, SECOND)
    assert [r.due_at for r in await world.runs(context)] == due


async def test_a_tick_that_fails_after_its_commit_has_left_its_messages(world: World) -> None:
    context = await world.context(every=SECOND)
    with armed("tick.after_commit:error"), pytest.raises(FailpointError):
        await world.tick()
    rows = await world.runs(context)
    (waiting,) = await world.sql("SELECT count(DISTINCT key) AS n FROM outbox")
    assert rows
    assert waiting.n == len(rows)


@pytest.mark.parametrize(("point", "told"), [("outbox.before_produce", 1), ("outbox.after_produce", 2)])
async def test_an_outbox_that_fails_tells_again_and_forgets_nothing(world: World, point: str, told: int) -> None:
    context = await world.context()
    async with world.engine.begin() as tx:
        await triggers.trigger(tx, context_id=context, principal="ann", key="k")
    bus = MemoryBus()
    await bus.ensure(registry(offers_prefix=DEFAULT_OFFERS_PREFIX))
    with armed(f"{point}:error"), pytest.raises(FailpointError):
        await flush(world.engine, bus)
    assert await flush(world.engine, bus) > 0
    assert len(bus.stored(".kirby.run-events")) == told


async def test_a_tick_waits_for_a_change_of_rules_that_has_not_been_committed(world: World) -> None:
    """Judged by the new rules then: nothing becomes due that the pause has taken away."""
    context = await world.context(every=SECOND)

    async def pause() -> datetime:
        async with change_of_rules(world.engine, author="ann") as change:
            (await change.session.get_one(Context, context)).paused = True
            holds.set()
        return change.now

    holds = asyncio.Event()
    with armed("rules.before_commit:delay:0.3"):
        pausing = asyncio.create_task(pause())
        await holds.wait()
        await world.tick()
        paused_at = await pausing
    assert [r for r in await world.runs(context) if r.status == "PENDING" and r.due_at > paused_at] == []


async def test_a_beat_that_comes_before_the_reaper_has_settled_saves_the_run(world: World) -> None:
    context, worker = await world.context(), await world.worker()
    async with world.engine.begin() as tx:
        await triggers.trigger(tx, context_id=context, principal="ann", key="k")
    (grant,) = await worker.claim()
    await worker.start(grant)
    term = await world.term()
    with armed("reap.before_settle:delay:0.3"):
        key = (grant.run_id, grant.grant)
        settling = asyncio.create_task(settle(term, key, beat=0, offers_prefix=DEFAULT_OFFERS_PREFIX))
        await asyncio.sleep(0)
        await worker.beat(grant)
        assert not await settling
    assert (await world.run(grant.run_id)).status == "RUNNING"


async def test_a_recorder_that_fails_before_its_commit_records_all_of_it_once(world: World) -> None:
    run_id, topic, bus = uuid4(), ".kirby.logs", MemoryBus()
    await bus.ensure(registry(offers_prefix=DEFAULT_OFFERS_PREFIX))
    await Shipper(bus, topic).send(run_id, 0, 4, end=True)  # type: ignore[arg-type]
    with armed("recorder.before_commit:error"):
        recording = asyncio.create_task(Recorder(world.engine, bus, holder=uuid4(), topic=topic).run())
        try:
            await eventually(lambda: pointers(world, run_id), what="the pointers")
        finally:
            recording.cancel()
            await asyncio.gather(recording, return_exceptions=True)
    assert await pointers(world, run_id) == [(0, 4, 4, True)]
