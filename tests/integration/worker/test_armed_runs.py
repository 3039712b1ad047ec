"""Between arming and LAUNCHING everything can still be taken back; after it, nothing can."""

import os
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from kirby_common.ledger import triggers
from kirby_common.ledger.rules import change_of_rules
from kirby_common.ledger.tables import Context, ContextSchedule, Schedule
from kirby_worker.adapters.home import journal
from kirby_worker.shim.processes import start_time
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tests.eventually import eventually
from tests.integration.worker.shim_bench import witness
from tests.integration.worker.test_worker_life import WITNESSED, started
from tests.integration.worker.worker_suite import WorkerSuite

AHEAD = timedelta(seconds=5.8)
"""Just within what a worker may claim."""


async def installed(suite: WorkerSuite, name: str, source: str = WITNESSED) -> tuple[str, str]:
    """A package whose venv is known to be buildable."""
    await suite.enabled(await suite.context(name, source))
    return f"{name}-prod", "1.0"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def package(steady: WorkerSuite) -> tuple[str, str]:
    return await installed(steady, "armed-at-all")


async def due_soon(
    suite: WorkerSuite, package: tuple[str, str], *, name: str, path: Path, at: datetime | None = None, **policies: Any
) -> UUID:
    """The run of a fresh context that is due at the instant."""
    at = at or datetime.now(UTC) + AHEAD
    context = await suite.world.context(job=f"{name}-due", package=package, at=at, policies=policies)
    await suite.world.sql(
        "INSERT INTO config_keys (id, scope, context_id, name, value) VALUES"
        " (gen_random_uuid(), 'context', :c, 'WITNESS', :path), (gen_random_uuid(), 'context', :c, 'SECONDS', '0')",
        c=context, path=str(path),
    )  # fmt: skip
    await suite.world.tick()
    (run,) = await suite.world.runs(context)
    return UUID(str(run.id))


async def armed(suite: WorkerSuite, run_id: UUID, *, grant: int = 1) -> int:
    """The process id of the interpreter that waits for the run."""
    folder = suite.home / "runs" / f"{run_id}.{grant}"

    def interpreter() -> int | None:
        shim = journal(folder).get("prepared", {}).get("shim")
        found = children(shim) if shim else []
        return next((p for p in found if b"armed.py" in Path(f"/proc/{p}/cmdline").read_bytes()), None)

    pid = await eventually(interpreter, timeout=20, what="an armed interpreter")
    assert pid is not None
    return pid


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


async def gone(pid: int) -> None:
    await eventually(lambda: start_time(pid) is None, timeout=20, what="the end of the interpreter")


async def cancel(suite: WorkerSuite, run_id: UUID) -> str:
    async with AsyncSession(suite.world.engine) as session, session.begin():
        return await triggers.cancel(session, run_id, by="ann")


async def pause(suite: WorkerSuite, run_id: UUID) -> list[UUID]:
    """Pauses the run's context; returns the runs for which that is too late."""
    run = await suite.world.run(run_id)
    async with change_of_rules(suite.world.engine, author="ann", offers_prefix=suite.ledger.prefix) as change:
        context = await change.session.get_one(Context, run.context_id)
        context.paused, context.pause_reason, context.paused_by = True, "moving", "ann"
    return [UUID(str(row.id)) for row in change.too_late]


async def edit_away(suite: WorkerSuite, run_id: UUID) -> None:
    """Moves the run's schedule to tomorrow."""
    run = await suite.world.run(run_id)
    mine = select(ContextSchedule.schedule_id).where(ContextSchedule.context_id == run.context_id)
    async with change_of_rules(suite.world.engine, author="ann", offers_prefix=suite.ledger.prefix) as change:
        schedule = (await change.session.scalars(select(Schedule).where(Schedule.id.in_(mine)))).one()
        schedule.at = datetime.now(UTC) + timedelta(days=1)


@pytest.mark.parametrize(("take_back", "status"), [(cancel, "CANCELLED"), (pause, "SKIPPED"), (edit_away, "SKIPPED")])
async def test_what_is_taken_back_before_launching_never_starts(
    take_back: Callable[[WorkerSuite, UUID], Awaitable[object]],
    status: str,
    steady: WorkerSuite,
    package: tuple[str, str],
    unique_name: Callable[[str], str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "witness"
    run_id = await due_soon(steady, package, name=unique_name("back"), path=path)
    pid = await armed(steady, run_id)
    folder = steady.home / "runs" / f"{run_id}.1"
    await take_back(steady, run_id)
    assert "go" not in journal(folder)
    await gone(pid)
    run = await steady.world.run(run_id)
    assert (run.status, run.attempt, run.started_at) == (status, 0, None)
    await eventually(lambda: not folder.exists(), timeout=20)
    assert witness(path) == []


async def test_an_armed_run_that_launching_refuses_is_skipped_and_its_interpreter_ended(
    steady: WorkerSuite, package: tuple[str, str], unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    path, long = tmp_path / "witness", tmp_path / "long"
    run_id = await due_soon(steady, package, name=unique_name("busy"), path=path, overlap="skip")
    pid = await armed(steady, run_id)
    context = (await steady.world.run(run_id)).context_id
    blocker = await steady.trigger(context, variables={"WITNESS": str(long), "SECONDS": "600"})
    await started(long)
    await gone(pid)
    run = await steady.status(run_id, "SKIPPED")
    assert run.reason.startswith(f"overlap=skip: run {blocker} was still ")
    long.with_suffix(".end").touch()
    await steady.status(blocker)
    assert witness(path) == []


async def test_after_launching_it_is_too_late_and_the_run_starts_on_time(
    suite: WorkerSuite, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    await suite.start(TESTING="1", KIRBY_FAILPOINT="worker.launching:delay:0.5")
    name, path = unique_name("late"), tmp_path / "witness"
    package = await installed(suite, name)
    at = datetime.now(UTC) + AHEAD
    run_id = await due_soon(suite, package, name=name, at=at, path=path)
    pid = await armed(suite, run_id)
    await suite.status(run_id, "LAUNCHING")
    with pytest.raises(triggers.Conflict, match="starting, too late to cancel"):
        await cancel(suite, run_id)
    assert await pause(suite, run_id) == ([run_id] if datetime.now(UTC) < at else [])
    run = await suite.status(run_id)
    assert (run.status, run.attempt) == ("SUCCEEDED", 1)
    first, last = witness(path)
    assert (first["pid"], first["event"], last["event"]) == (pid, "start", "end")


async def test_a_worker_killed_beside_an_armed_interpreter_takes_it_along_and_the_run_starts_once(
    suite: WorkerSuite, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    worker = await suite.start()
    name, path = unique_name("dies"), tmp_path / "witness"
    run_id = await due_soon(suite, await installed(suite, name), name=name, path=path)
    pid = await armed(suite, run_id)
    worker.kill()
    await gone(pid)
    await suite.start()
    await _started_once(suite, run_id, path)


async def test_a_shim_killed_beside_an_armed_interpreter_takes_it_along_and_the_run_starts_once(
    steady: WorkerSuite, package: tuple[str, str], unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "witness"
    run_id = await due_soon(steady, package, name=unique_name("dies"), path=path)
    pid = await armed(steady, run_id)
    os.kill(journal(steady.home / "runs" / f"{run_id}.1")["prepared"]["shim"], signal.SIGKILL)
    await gone(pid)
    await _started_once(steady, run_id, path)


async def _started_once(suite: WorkerSuite, run_id: UUID, path: Path) -> None:
    run = await suite.status(run_id)
    assert (run.status, run.attempt, run.grant_no) == ("SUCCEEDED", 1, 2)
    assert [w["event"] for w in witness(path)] == ["start", "end"]


async def test_a_drain_gives_an_armed_run_back(
    suite: WorkerSuite, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    worker = await suite.start()
    name, path = unique_name("drained"), tmp_path / "witness"
    run_id = await due_soon(suite, await installed(suite, name), name=name, path=path)
    pid = await armed(suite, run_id)
    assert await worker.terminate() == 0, worker.said()
    assert start_time(pid) is None
    assert (await suite.world.run(run_id)).status == "PENDING"
    assert witness(path) == []


async def test_a_trigger_starts_in_an_interpreter_that_had_waited(
    steady: WorkerSuite, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    name = unique_name("again")
    context = await steady.context(name, WITNESSED)
    await steady.enabled(context)
    paths = [tmp_path / "first", tmp_path / "second"]
    await steady.status(await steady.trigger(context, variables={"WITNESS": str(paths[0]), "SECONDS": "0"}))

    def waiting() -> list[int]:
        return [
            p for p in _all_pids() if (c := _command(p)) and b"armed.py" in c and name.replace("-", "_").encode() in c
        ]

    pids = await eventually(waiting, timeout=20, what="a pair")
    run_id = await steady.trigger(context, variables={"WITNESS": str(paths[1]), "SECONDS": "0"}, args=["-v"])
    assert (await steady.status(run_id)).status == "SUCCEEDED"
    assert witness(paths[1])[0]["pid"] in pids
    assert await steady.text(run_id) == "up\ndone\n"


def _all_pids() -> list[int]:
    return [int(p) for p in os.listdir("/proc") if p.isdigit()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
