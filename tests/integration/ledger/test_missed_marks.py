"""Missed marks on a real ledger: told once, told as over once, whoever watches."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from kirby_api.ledger_role.watchman import Watchman
from kirby_common.ledger import triggers
from kirby_common.ledger.outbox import OutboxRelay
from kirby_common.ports import BusUnavailable, GroupPosition
from kirby_common.testing.bus import MemoryBus
from kirby_common.topics import DEFAULT_OFFERS_PREFIX
from kirby_scheduler.loops.arbiter import arbitrate
from kirby_scheduler.loops.marks import watch
from kirby_scheduler.loops.progress import sample
from kirby_scheduler.loops.sweep import sweep
from kirby_scheduler.term import Deposed

from tests.integration.ledger.world import LEASE, World

NONE = timedelta(0)


async def look(world: World, grace: timedelta = NONE) -> int:
    """A pass of a leader of its own: what is told never hangs on who watched before."""
    return await watch(await world.term(), lease=LEASE, grace=grace)


async def told(world: World) -> list[tuple[str, str]]:
    """(type, subject) of all that was told, in order."""
    rows = await world.sql("SELECT value FROM outbox WHERE topic = '.kirby.alerts' ORDER BY id")
    messages = [json.loads(bytes(r.value)) for r in rows]
    return [(m["type"].removesuffix(".v1"), m["subject"]) for m in messages]


def watchman(world: World, grace: timedelta = NONE) -> Watchman:
    return Watchman(world.engine, OutboxRelay(world.engine, MemoryBus()), lease=LEASE, grace=grace)


async def silence(world: World, by: timedelta = timedelta(hours=1)) -> None:
    """Nobody has led, and no worker has beaten, for so long."""
    await world.sql("UPDATE workers SET last_beat_at = last_beat_at - CAST(:by AS interval)", by=by)
    await world.sql("UPDATE leader SET lease_until = clock_timestamp() - CAST(:by AS interval)", by=by)


async def test_missed_due_times_of_a_context_are_one_alert_until_it_runs_again(world: World) -> None:
    context = await world.context()
    worker = await world.worker()
    for key in ("a", "b"):
        async with world.engine.begin() as tx:
            await triggers.trigger(tx, context_id=context, principal="ann", key=key)
    await world.sql("UPDATE runs SET deadline_at = clock_timestamp() - interval '1 second'")
    await sweep(await world.term(), offers_prefix=DEFAULT_OFFERS_PREFIX)
    assert await look(world) == 1
    assert await look(world) == 0
    (alert,) = await world.sql("SELECT * FROM alerts")
    assert (alert.subject, alert.detail["count"]) == ("context/hello@prod", 2)
    assert alert.reason.startswith("2 due times up to ")
    assert alert.reason.endswith(" UTC were missed: not started before its deadline")
    async with world.engine.begin() as tx:
        await triggers.trigger(tx, context_id=context, principal="ann", key="c")
    (grant,) = await worker.claim()
    await worker.start(grant)
    assert await look(world) == 1
    assert await told(world) == [("mark.missed", "context/hello@prod"), ("mark.recovered", "context/hello@prod")]


async def test_due_times_of_an_outage_are_told_afterwards(world: World) -> None:
    context = await world.context(every=timedelta(minutes=1))
    await world.tick()
    await world.rewind(context, timedelta(minutes=10))
    await world.tick()
    await look(world)
    (alert,) = await world.sql("SELECT * FROM alerts")
    missed = [r for r in await world.runs(context) if r.status == "MISSED"]
    assert alert.detail["count"] == len(missed) > 1
    assert "no leader at that time; misfire=fire_once" in alert.reason


async def test_the_misses_of_a_disabled_context_are_over(world: World) -> None:
    context = await world.context(every=timedelta(minutes=1))
    await world.tick()
    await world.rewind(context, timedelta(minutes=10))
    await world.tick()
    await look(world)
    await world.sql("UPDATE contexts SET state = 'disabled'")
    assert await look(world) == 1
    assert [what for what, _ in await told(world)] == ["mark.missed", "mark.recovered"]


async def test_a_run_beyond_its_expected_duration(world: World) -> None:
    context = await world.context(policies={"max_duration": "1h30m"})
    worker = await world.worker()
    async with world.engine.begin() as tx:
        made = await triggers.trigger(tx, context_id=context, principal="ann", key="k")
    (grant,) = await worker.claim()
    await worker.start(grant)
    assert await look(world) == 0
    await world.sql("UPDATE runs SET started_at = started_at - interval '91 minutes'")
    assert await look(world) == 1
    (alert,) = await world.sql("SELECT * FROM alerts")
    assert (alert.run_id, alert.reason) == (made.run_id, "runs longer than the 1h30m that it should take")
    assert await look(world) == 0
    await worker.end(grant)
    assert await look(world) == 1


async def test_a_pool_without_a_live_worker(world: World) -> None:
    await world.context()
    await world.worker()
    await world.sql("UPDATE contexts SET pool = 'gpu'")
    assert await look(world, grace=timedelta(hours=1)) == 0
    await world.sql("UPDATE alerts SET opened_at = opened_at - interval '2 hours'")
    assert await look(world, grace=timedelta(hours=1)) == 1
    await world.sql("UPDATE workers SET pool = 'gpu'")
    assert await look(world) == 1
    assert await told(world) == [("mark.missed", "pool/gpu"), ("mark.recovered", "pool/gpu")]


class Kafka:
    """What the cluster would say; None as an answer is a broker that is away."""

    def __init__(self) -> None:
        self.position: GroupPosition | None = None
        self.times: dict[str, datetime | None] | None = {}

    def __call__(self, servers: str | None) -> "Kafka":
        return self

    async def group(self, name: str) -> GroupPosition | None:
        assert name == "g"
        return self.position

    async def newest(self, topics: Sequence[str]) -> dict[str, datetime | None]:
        if self.times is None:
            raise BusUnavailable("away")
        return {topic: self.times[topic] for topic in topics if topic in self.times}


async def test_a_daemon_that_reads_nothing_though_messages_wait(world: World) -> None:
    await world.context(type="daemon", group="g", policies={"stalled_after": "5m"})
    worker, kafka = await world.worker(), Kafka()
    for _ in range(2):
        await arbitrate(await world.term(), lease_s=20, offers_prefix=DEFAULT_OFFERS_PREFIX)
        for grant in await worker.claim():
            await worker.start(grant)
    await world.sql("UPDATE daemon_slots SET up_since = up_since - interval '1 hour'")
    for offset, stalled in ((3, False), (3, True), (4, False)):
        kafka.position = GroupPosition({"raw:0": offset}, 7)
        await sample(await world.term(), kafka)
        await look(world)
        found = await world.sql("SELECT kind FROM alerts WHERE closed_at IS NULL")
        assert [r.kind for r in found] == (["daemon_stalled"] if stalled else [])
        await world.sql("UPDATE daemon_progress SET moved_at = moved_at - interval '6 minutes'")


async def test_a_topic_that_is_not_fresh(world: World) -> None:
    await world.context()
    await world.sql("INSERT INTO topics (name, fresh_within_ms) VALUES ('raw', 60000)")
    kafka = Kafka()
    assert await sample(await world.term(), kafka) == 0
    kafka.times = {"raw": datetime.now(UTC) - timedelta(hours=1)}
    assert await sample(await world.term(), kafka) == 1
    kafka.times = None
    assert await sample(await world.term(), kafka) == 0
    kafka.times = {"raw": datetime.now(UTC)}
    assert await sample(await world.term(), kafka) == 1
    assert await told(world) == [("mark.missed", "topic/raw@prod"), ("mark.recovered", "topic/raw@prod")]


async def test_a_crash_loop_and_missing_replicas_are_told_apart(world: World) -> None:
    await world.context(type="daemon", replicas=2)
    await arbitrate(await world.term(), lease_s=20, offers_prefix=DEFAULT_OFFERS_PREFIX)
    await look(world)
    (short,) = await world.sql("SELECT * FROM alerts WHERE closed_at IS NULL")
    assert (short.kind, short.reason) == ("daemon_short", "0 of 2 replicas live")
    await world.sql("UPDATE daemon_slots SET state = 'CRASH_LOOPING', crashes = 5 WHERE slot = 0")
    await look(world)
    (looping,) = await world.sql("SELECT * FROM alerts WHERE closed_at IS NULL")
    assert looping.kind == "daemon_crash_looping"


async def test_a_deposed_leader_tells_nothing(world: World) -> None:
    term = await world.term()
    await world.term()
    await world.context(every=timedelta(minutes=1))
    with pytest.raises(Deposed):
        await watch(term, lease=LEASE, grace=NONE)


async def test_no_leader_and_no_supervisor_are_told_while_it_lasts_and_when_it_is_over(world: World) -> None:
    """N5: the api's ledger role tells, as those who would are the ones that are gone; any number of them look."""
    await world.worker()
    await world.sql("UPDATE leader SET lease_until = clock_timestamp() + interval '1 hour'")
    first, second = watchman(world), watchman(world)
    assert await first.look() == 0
    await silence(world)
    assert await first.look() == 2
    assert await second.look() == 0
    assert await told(world) == [("mark.missed", "suite/leader"), ("mark.missed", "suite/supervisors")]
    await world.sql("UPDATE workers SET last_beat_at = clock_timestamp()")
    assert await second.look() == 1
    await world.sql("UPDATE leader SET lease_until = clock_timestamp() + interval '1 hour'")
    assert await first.look() == 1
    assert [what for what, _ in await told(world)] == ["mark.missed"] * 2 + ["mark.recovered"] * 2
    assert all(row.closed_at > row.told_at > row.opened_at for row in await world.sql("SELECT * FROM alerts"))


async def test_a_short_absence_is_not_told(world: World) -> None:
    await world.worker()
    guard = watchman(world, grace=timedelta(hours=2))
    await silence(world)
    assert await guard.look() == 0
    await world.sql("UPDATE workers SET last_beat_at = clock_timestamp()")
    await world.sql("UPDATE leader SET lease_until = clock_timestamp() + interval '1 hour'")
    assert await guard.look() == 0
    assert await world.sql("SELECT 1 FROM alerts") == []
