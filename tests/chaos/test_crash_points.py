"""The crash table of the launch protocol, on real processes; the witness counts the starts."""

import asyncio
import os
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

from kirby.dev.parts import free_port
from kirby_common.ledger import triggers
from kirby_common.ledger.rules import change_of_rules
from kirby_common.ledger.tables import Schedule
from sqlalchemy import select, text

from tests.chaos.crew import Crew
from tests.eventually import eventually

SECOND = timedelta(seconds=1)


async def trigger(crew: Crew, context: UUID) -> UUID:
    async with crew.engine.begin() as tx:
        return (await triggers.trigger(tx, context_id=context, principal="ann", key=str(uuid4()))).run_id


async def resolved(crew: Crew, context: UUID) -> None:
    async def is_enabled() -> bool:
        (row,) = await crew.world.sql("SELECT state, state_reason FROM contexts WHERE id = :id", id=context)
        assert row.state in {"enabled", "enabling"}, row
        return bool(row.state == "enabled")

    await eventually(is_enabled, timeout=30, what="the lock")


async def test_a_leader_that_dies_around_its_commit_loses_and_doubles_nothing(crew: Crew) -> None:
    """Before the commit: recomputed. After it, before the offers: workers poll; the relay produces."""
    crew.ledger()
    await crew.worker("w1")
    context = await crew.job(every=SECOND, policies={"overlap": "allow"})
    await resolved(crew, context)
    first = crew.scheduler("a", failpoint="tick.before_commit:kill9")
    await eventually(lambda: first.process.poll() is not None, timeout=20, what="the first leader's death")
    second = crew.scheduler("b", failpoint="tick.after_commit:kill9")
    await eventually(lambda: second.process.poll() is not None, timeout=20, what="the second leader's death")
    third = crew.scheduler("c", failpoint="outbox.after_produce:kill9")
    await eventually(lambda: third.process.poll() is not None, timeout=20, what="the third leader's death")
    crew.scheduler("d")
    await eventually(lambda: len(crew.starts()) >= 5, timeout=30, what="five starts")
    await crew.world.sql("UPDATE contexts SET state = 'disabled'")
    rows = [r for r in await crew.world.runs(context) if r.due_at <= datetime.now(UTC)]
    due = [r.due_at.timestamp() for r in rows if r.kind == "schedule"]
    assert due == [due[0] + n for n in range(len(due))]
    assert set(crew.starts().values()) == {1}


async def test_n4_twenty_jobs_start_once_although_the_only_leader_has_died_before_they_are_due(crew: Crew) -> None:
    """What is due within the look-ahead lies with the workers already, and needs no leader to start."""
    crew.ledger()
    leader = crew.scheduler("a")
    for name in ("w1", "w2"):
        await crew.worker(name)
    far = datetime.now(UTC) + timedelta(days=1)
    contexts = [await crew.job(job=f"job-{n}", at=far) for n in range(20)]
    for context in contexts:
        await resolved(crew, context)
    async with change_of_rules(crew.engine, author="ann") as change:
        at = change.now + 20 * SECOND
        for schedule in await change.session.scalars(select(Schedule).order_by(Schedule.id)):
            schedule.at = at
    await eventually(lambda: _all_claimed(crew, 20), timeout=18, every=0.1, what="claims ahead of the due time")
    leader.kill()
    assert datetime.now(UTC) < at
    for context in contexts:
        await crew.all_end(context, timeout=60)
    runs = await crew.world.runs()
    assert [(r.status, r.due_at) for r in runs] == [("SUCCEEDED", at)] * 20
    assert all(r.started_at >= at for r in runs)
    assert crew.starts() == {str(r.id): 1 for r in runs}


async def test_beats_behind_a_stalled_one_take_no_connection_from_the_other_workers(crew: Crew) -> None:
    """A worker beats again whether it was answered or not; what it asked before must not wait with the new."""
    await crew.ledger().ready()
    async with crew.played("w1") as stalled, crew.played("w2") as other, crew.engine.begin() as tx:
        await tx.execute(text("SELECT 1 FROM workers WHERE name = 'w1' FOR UPDATE"))
        beats = [asyncio.create_task(stalled.post("/beats", json={"beat": n})) for n in range(60)]
        await eventually(lambda: any(beat.done() for beat in beats), timeout=8, what="an answer to a beat that waits")

        async def answered() -> bool:
            return (await other.post("/beats", json={"beat": 1})).status_code == 200

        await eventually(answered, timeout=8, what="an answer to the other worker")
        assert {(await beat).status_code for beat in beats} == {503}


async def _all_claimed(crew: Crew, count: int) -> bool:
    return Counter(r.status for r in await crew.world.runs()) == {"CLAIMED": count}


async def test_a_worker_killed_in_mid_run_is_followed_by_its_next_incarnation(crew: Crew) -> None:
    crew.ledger()
    crew.scheduler("a")
    worker = await crew.worker("w1")
    context = await crew.job(seconds=6)
    await resolved(crew, context)
    run_id = await trigger(crew, context)
    await eventually(lambda: crew.starts() == {str(run_id): 1}, timeout=20)
    worker.kill()
    await crew.worker("w1")
    # On a slow machine the heir comes after the lease: then the run is lost first, and found.
    await eventually(lambda: crew.is_status(run_id, "SUCCEEDED"), timeout=30, what="the run's success")
    assert (await crew.world.run(run_id)).attempt == 1
    assert crew.starts() == {str(run_id): 1}


async def test_a_worker_that_never_comes_back_leaves_a_lost_run(crew: Crew) -> None:
    crew.ledger()
    crew.scheduler("a")
    worker = await crew.worker("w1")
    context = await crew.job(seconds=3600)
    await resolved(crew, context)
    run_id = await trigger(crew, context)
    await eventually(lambda: crew.starts() == {str(run_id): 1}, timeout=20)
    (started,) = crew.testimonies()
    worker.kill()
    await crew.all_end(context)
    assert await crew.status(run_id) == "LOST"
    os.kill(started.pid, signal.SIGKILL)


async def test_an_at_least_once_run_goes_on_elsewhere_after_its_lease_and_never_twice_at_a_time(crew: Crew) -> None:
    crew.ledger()
    crew.scheduler("a")
    worker = await crew.worker("w1")
    context = await crew.job(seconds=9, policies={"delivery": "at_least_once"})
    await resolved(crew, context)
    run_id = await trigger(crew, context)
    await eventually(lambda: crew.starts() == {str(run_id): 1}, timeout=20)
    worker.kill()
    await crew.worker("w2")
    await eventually(lambda: crew.starts()[str(run_id)] >= 2, timeout=30, what="the second attempt")
    await crew.all_end(context)
    *starts, end = crew.testimonies()
    # Two, and more where the machine is so slow that another lease runs out.
    attempts = (await crew.world.run(run_id)).attempt
    assert [t.what for t in starts] == ["start"] * attempts
    assert attempts >= 2
    grants = [t.grant for t in starts]
    assert grants == sorted(set(grants))
    assert (end.what, end.grant) == ("end", grants[-1])


async def test_a_lost_answer_to_launching_starts_once(crew: Crew) -> None:
    """The endpoint dies after it has written LAUNCHING: the worker asks another one and gets the same attempt.

    The other one is there already: one that had yet to start could be too late, and the run would be given back.
    """
    ledger, other = crew.ledger(failpoint="endpoint.answer.launches:kill9"), crew.ledger(port=free_port())
    await other.ready()
    async with crew.behind_a_proxy(ledger.port) as proxy:
        await crew.worker("w1")
        context = await crew.job()
        await resolved(crew, context)
        run_id = await trigger(crew, context)
        await eventually(lambda: ledger.process.poll() is not None, timeout=20, what="the endpoint's death")
        proxy.lead_to([other.port])
        await eventually(lambda: crew.is_status(run_id, "SUCCEEDED"), timeout=30, what="the run's success")
    (started,) = (t for t in crew.testimonies() if t.what == "start")
    assert (started.run_id, started.grant) == (str(run_id), 1)
    assert (await crew.world.run(run_id)).attempt == 1


async def test_a_lost_answer_to_a_claim_or_an_end_changes_nothing(crew: Crew) -> None:
    ledger = crew.ledger(failpoint="endpoint.answer.reports:kill9")
    crew.scheduler("a")
    await crew.worker("w1")
    context = await crew.job(policies={"overlap": "allow"})
    await resolved(crew, context)
    run_ids = [await trigger(crew, context) for _ in range(3)]
    await eventually(lambda: ledger.process.poll() is not None, timeout=20, what="the endpoint's death")
    crew.ledger(failpoint="endpoint.answer.claims:delay:1")
    for run_id in run_ids:
        await eventually(partial(crew.is_status, run_id, "SUCCEEDED"), timeout=30, what="the run's success")
    assert crew.starts() == {str(r): 1 for r in run_ids}
