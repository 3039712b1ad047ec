"""Daemons and missed marks on real processes: a host that dies and comes back, and an outage of every supervisor."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.chaos.crew import Crew
from tests.chaos.test_crash_points import resolved
from tests.eventually import eventually


async def slot_of(crew: Crew, context: UUID) -> Any:
    """The daemon's only slot with its generation's run, once that runs."""
    rows = await crew.world.sql(
        "SELECT d.generation, d.state, d.run_id, r.worker, r.started_at FROM daemon_slots d JOIN runs r"
        " ON r.id = d.run_id WHERE d.context_id = :id AND d.state = 'UP' AND r.status = 'RUNNING'",
        id=context,
    )  # fmt: skip
    return rows[0] if rows else None


async def test_a_daemon_comes_up_elsewhere_and_its_old_generation_drains(crew: Crew) -> None:
    crew.ledger()
    crew.scheduler("a")
    home = await crew.worker("w1")
    context = await crew.job(seconds=3600, type="daemon", group="g")
    await resolved(crew, context)

    async def is_up() -> Any:
        return await slot_of(crew, context)

    first = await eventually(is_up, timeout=30, what="the daemon on its first worker")
    await crew.worker("w2")
    home.kill()

    async def is_elsewhere() -> Any:
        slot = await slot_of(crew, context)
        return slot if slot is not None and slot.worker == "w2" else None

    second = await eventually(is_elsewhere, timeout=30, what="the daemon on the other worker")
    assert (first.worker, second.generation) == ("w1", first.generation + 1)
    both = {str(first.run_id): 1, str(second.run_id): 1}
    await eventually(lambda: crew.starts() == both, timeout=20, what="the second start")
    # The script of the first generation has lived on all the while, as on a host that was cut off.
    await crew.worker("w1")
    await eventually(lambda: crew.is_status(first.run_id, "KILLED"), timeout=30, what="the end of the old generation")
    assert (await crew.world.run(first.run_id)).reason == "superseded"
    assert await slot_of(crew, context) == second
    assert crew.starts() == both
    await crew.world.sql("UPDATE contexts SET state = 'disabled'")
    await crew.all_end(context)


async def test_an_outage_of_every_supervisor_is_told_while_it_lasts(crew: Crew) -> None:
    """N5."""
    crew.ledger()
    scheduler, worker = crew.scheduler("a"), await crew.worker("w1")
    context = await crew.job(every=timedelta(seconds=1), policies={"overlap": "allow", "start_deadline": "1s"})
    await resolved(crew, context)
    await eventually(lambda: crew.starts(), timeout=30, what="a first run")
    scheduler.kill()
    worker.kill()

    async def told() -> set[str]:
        rows = await crew.world.sql("SELECT subject FROM alerts WHERE told_at IS NOT NULL AND closed_at IS NULL")
        return {row.subject for row in rows}

    async def is_told() -> bool:
        return {"suite/leader", "suite/supervisors"} <= await told()

    async def is_over() -> bool:
        return not {"suite/leader", "suite/supervisors"} & await told()

    await eventually(is_told, timeout=30, what="the alerts of the outage, while it lasts")
    outage = datetime.now(UTC)
    crew.scheduler("b")
    await crew.worker("w1")
    await eventually(is_over, timeout=30, what="their end")

    async def is_caught_up() -> bool:
        misses = await crew.world.sql("SELECT 1 FROM alerts WHERE kind = 'due_time_missed'")
        return bool(misses) and max(due_times(await crew.world.runs(context))) > outage.timestamp()

    await eventually(is_caught_up, timeout=30, what="the missed due times, told afterwards")
    await crew.world.sql("UPDATE contexts SET state = 'disabled'")
    due = due_times(await crew.world.runs(context))
    assert due == [due[0] + n for n in range(len(due))]
    assert set(crew.starts().values()) == {1}


def due_times(rows: list[Any]) -> list[float]:
    """The due times that have a row of their own."""
    return [row.due_at.timestamp() for row in rows if row.kind == "schedule"]
