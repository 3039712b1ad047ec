"""Restarts, kills and refusals: an attempt starts once and ends as it ended, whoever dies meanwhile."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from kirby_worker.adapters.home import journal
from kirby_worker.shim.processes import start_time

from tests.eventually import eventually
from tests.integration.worker.shim_bench import witness
from tests.integration.worker.worker_suite import WorkerSuite

WITNESSED = """
import json, os, signal, sys, time
def tell(event):
    with open(os.environ["WITNESS"], "a") as file:
        file.write(json.dumps({"event": event, "run": os.environ["KIRBY_RUN_ID"], "pid": os.getpid(),
                               "attempt": os.environ["KIRBY_ATTEMPT"], "at": time.clock_gettime(7)}) + "\\n")
        os.fsync(file.fileno())
tell("start")
print("up", flush=True)
end = time.monotonic() + float(os.environ["SECONDS"])
while time.monotonic() < end and not os.path.exists(os.environ["WITNESS"] + ".end"):
    time.sleep(0.02)
print("done", flush=True)
tell("end")
"""


async def started(path: Path) -> list[dict[str, Any]]:
    return await eventually(lambda: witness(path), timeout=40, what="a start")


async def test_a_worker_killed_mid_run_is_succeeded_by_one_that_adopts(
    suite: WorkerSuite, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "witness"
    worker = await suite.start()
    context = await suite.context(unique_name("long"), WITNESSED)
    await suite.enabled(context)
    run_id = await suite.trigger(context, variables={"WITNESS": str(path), "SECONDS": "600"})
    await started(path)
    await suite.status(run_id, "RUNNING")
    worker.kill()
    second = await suite.start()
    await eventually(lambda: "run.adopted" in second.said(), timeout=20)
    path.with_suffix(".end").touch()
    run = await suite.status(run_id)
    assert (run.status, run.attempt, run.grant_no) == ("SUCCEEDED", 1, 1), second.said()
    assert [w["event"] for w in witness(path)] == ["start", "end"]
    assert await suite.text(run_id) == "up\ndone\n"


async def test_a_run_that_ends_while_no_worker_lives_is_told_by_the_next(
    suite: WorkerSuite, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "witness"
    worker = await suite.start()
    context = await suite.context(unique_name("orphan"), WITNESSED)
    await suite.enabled(context)
    run_id = await suite.trigger(context, variables={"WITNESS": str(path), "SECONDS": "600"})
    await started(path)
    worker.kill()
    path.with_suffix(".end").touch()
    folder = suite.home / "runs" / f"{run_id}.1"
    await eventually(lambda: "ended" in journal(folder))
    await suite.start()
    run = await suite.status(run_id)
    assert (run.status, run.attempt) == ("SUCCEEDED", 1)
    assert await suite.text(run_id) == "up\ndone\n"
    assert [w["event"] for w in witness(path)] == ["start", "end"]


async def test_a_killed_shim_takes_its_script_along_and_the_run_is_lost(
    suite: WorkerSuite, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "witness"
    await suite.start()
    context = await suite.context(unique_name("shim"), WITNESSED)
    await suite.enabled(context)
    run_id = await suite.trigger(context, variables={"WITNESS": str(path), "SECONDS": "600"})
    (first,) = await started(path)
    folder = suite.home / "runs" / f"{run_id}.1"
    shim = journal(folder)["prepared"]["shim"]
    os.kill(shim, signal.SIGKILL)
    pid = int(str(first["pid"]))
    await eventually(lambda: start_time(pid) is None)

    async def lost() -> bool:
        run = await suite.world.run(run_id)
        return run.status == "LOST" and not run.unfenced

    # Nobody saw the end, but nothing of it lives on: it keeps no place.
    await eventually(lost, timeout=20, what="the run's loss")
    assert "its shim died, and the script with it" in (await suite.world.run(run_id)).reason
    assert len(witness(path)) == 1


async def test_a_drain_leaves_running_scripts_to_their_shims(
    suite: WorkerSuite, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "witness"
    worker = await suite.start()
    context = await suite.context(unique_name("drain"), WITNESSED)
    await suite.enabled(context)
    run_id = await suite.trigger(context, variables={"WITNESS": str(path), "SECONDS": "600"})
    (first,) = await started(path)
    await suite.status(run_id, "RUNNING")
    assert await worker.terminate() == 0, worker.said()
    assert start_time(int(str(first["pid"]))) is not None
    await suite.start()
    path.with_suffix(".end").touch()
    run = await suite.status(run_id)
    assert (run.status, run.attempt) == ("SUCCEEDED", 1)
    assert len(witness(path)) == 2


async def test_an_idle_worker_gives_its_name_up_at_once(suite: WorkerSuite) -> None:
    worker = await suite.start()
    await eventually(lambda: "worker.welcome" in worker.said(), timeout=20)
    assert await worker.terminate() == 0, worker.said()
    (row,) = await suite.world.sql("SELECT gone FROM workers WHERE name = 'w1'")
    assert row.gone


async def test_a_name_in_use_is_refused(suite: WorkerSuite, tmp_path: Path) -> None:
    worker = await suite.start()
    await eventually(lambda: "worker.welcome" in worker.said(), timeout=20)
    same_home = await suite.start()
    assert await same_home.ended() == 1
    other_home = await suite.start(KIRBY_WORKER_HOME=str(tmp_path / "other"))
    assert await other_home.ended() == 1
    for refused in (same_home, other_home):
        last = refused.said().strip().splitlines()[-1]
        assert last.startswith(f"supervisor name 'w1' is in use by {os.uname().nodename} since 20")
        assert "Traceback" not in refused.said()
    assert worker.process.poll() is None


async def test_a_worker_whose_name_was_taken_over_stops(suite: WorkerSuite) -> None:
    worker = await suite.start()
    await eventually(lambda: "worker.welcome" in worker.said(), timeout=20)
    await suite.world.sql("UPDATE workers SET incarnation = :other", other=uuid4())
    assert await worker.ended() == 75
    assert "no longer holds its name" in worker.said()
    assert "Traceback" not in worker.said()


async def test_an_unknown_token_is_refused_in_one_sentence(suite: WorkerSuite) -> None:
    worker = suite.spawn("nobody")
    assert await worker.ended() == 1
    assert worker.said().strip().splitlines()[-1].startswith("unknown worker token")


async def test_the_worker_waits_for_an_absent_ledger_and_comes_up_by_itself(
    bare_suite: WorkerSuite, unique_name: Callable[[str], str]
) -> None:
    worker = await bare_suite.start()
    await eventually(lambda: "worker.waiting_for_api" in worker.said(), timeout=20)
    async with bare_suite.ledger.serving():
        context = await bare_suite.context(unique_name("late"), "print('late')")
        await bare_suite.enabled(context)
        run = await bare_suite.status(await bare_suite.trigger(context))
        assert run.status == "SUCCEEDED"


async def test_an_end_is_told_after_the_ledger_was_away(
    bare_suite: WorkerSuite, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "witness"
    async with bare_suite.ledger.serving():
        worker = await bare_suite.start()
        context = await bare_suite.context(unique_name("away"), WITNESSED)
        await bare_suite.enabled(context)
        run_id = await bare_suite.trigger(context, variables={"WITNESS": str(path), "SECONDS": "600"})
        await started(path)
        await bare_suite.status(run_id, "RUNNING")
    path.with_suffix(".end").touch()
    await eventually(lambda: "report.unanswered" in worker.said(), timeout=20)
    async with bare_suite.ledger.serving():
        run = await bare_suite.status(run_id)
        assert (run.status, run.attempt) == ("SUCCEEDED", 1)
        assert len(witness(path)) == 2
