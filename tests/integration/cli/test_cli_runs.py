"""runs, logs, trigger: looking at runs and stopping them."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kirby.cli.run_refs import is_ahead

from tests.eventually import eventually_sync
from tests.integration.cli.conftest import Command
from tests.stores.suites import RunningSuite, clean_environment

TALKER = """
import os, sys, time
print("DEBUG first", flush=True)
print("WARNING second", file=sys.stderr, flush=True)
print("third", flush=True)
if os.environ.get("WAIT"):
    time.sleep(600)
sys.exit(int(os.environ.get("CODE", "0")))
"""


@pytest.fixture
def talker(kirby: Command, script: Callable[[str], Path], unique_name: Callable[[str], str]) -> str:
    """A deployed job that says three lines and ends as it is told."""
    job = unique_name("talker")
    kirby("deploy", str(script(TALKER)), "--job", job, "--env", "prod")
    return job


def test_a_run_has_the_form_that_is_promised(kirby: Command, talker: str) -> None:
    run = kirby("trigger", talker, "--env", "prod", "--wait", "--var", "CODE=7", "-o", "json", code=7).json
    assert {"run_id", "job", "env", "status", "due_at", "started_at", "attempts"} <= set(run)
    assert (run["job"], run["env"], run["status"], run["exit_code"]) == (talker, "prod", "FAILED", 7)
    assert [a["status"] for a in run["attempts"]] == ["FAILED"]
    assert kirby.json("runs", "--job", talker)[0]["run_id"] == run["run_id"]
    shown = kirby("runs", "show", run["run_id"][:13])
    assert "exit code 7" in shown.out
    assert kirby.json("runs", "show", f"{talker}@prod")["run_id"] == run["run_id"]


def test_the_lines_in_every_form(kirby: Command, talker: str) -> None:
    run = kirby("trigger", talker, "--env", "prod", "--wait", "-o", "json").json["run_id"]
    whole = kirby("logs", run).out.splitlines()
    assert sorted(whole) == ["DEBUG first", "WARNING second", "third"]
    assert kirby("logs", run, "--level", "WARNING").out == "WARNING second\n"
    assert kirby("logs", run, "--tail", "1").out.splitlines() == whole[-1:]
    followed = kirby("logs", run, "-f")
    assert followed.out.splitlines() == whole
    assert "SUCCEEDED" in followed.err
    assert kirby("logs", run, "-f", "--tail", "1").out.splitlines() == whole[-1:]
    lines = [json.loads(text) for text in kirby("logs", run, "-o", "json").out.splitlines()]
    assert [line["text"] for line in lines] == whole
    assert {line["stream"] for line in lines} == {"stdout", "stderr"}
    assert " ! WARNING second" in kirby("logs", run, "-t").out


def test_a_run_is_killed_with_its_reason_and_run_again(kirby: Command, talker: str) -> None:
    run = kirby("trigger", talker, "--env", "prod", "--var", "WAIT=1").out.strip()
    eventually_sync(lambda: kirby.json("runs", "show", run)["status"] == "RUNNING", timeout=30)
    assert "told to kill it" in kirby("runs", "kill", run, "--reason", "too slow").out
    ended = eventually_sync(lambda: (r := kirby.json("runs", "show", run))["ended_at"] and r, timeout=30)
    assert ended["status"] == "KILLED"
    assert "too slow" in ended["reason"]
    assert "KILLED already" in kirby("runs", "cancel", run, code=5).err


def test_a_rerun_is_a_new_run_that_is_flagged(kirby: Command, talker: str) -> None:
    run = kirby("trigger", talker, "--env", "prod", "--wait", "--var", "CODE=2", "-o", "json", code=2).json
    again = kirby("runs", "rerun", run["run_id"], "--wait", "-o", "json", code=2).json
    assert (again["rerun"], again["parent_run_id"]) == (True, run["run_id"])


def test_many_runs_are_told_at_once_and_each_refusal_is_named(kirby: Command, talker: str) -> None:
    kirby("jobs", "set", talker, "--policy", "overlap=allow")
    first, second = (kirby("trigger", talker, "--env", "prod", "--var", "WAIT=1").out.strip() for _ in range(2))
    over = kirby("trigger", talker, "--env", "prod", "--wait", "-o", "json", code=None).json["run_id"]
    done = kirby("runs", "kill", first, over, code=5)
    assert f"run {over} is" in done.err
    assert "Name the runs to kill" in kirby("runs", "kill", code=2).err
    assert "say --yes" in kirby("runs", "kill", "--job", talker, code=2).err
    killed = kirby("runs", "kill", "--job", talker, "--yes", "--reason", "all of them", "-o", "json", code=None).json
    assert {run["run_id"] for run in killed} <= {first, second}
    eventually_sync(lambda: all(kirby.json("runs", "show", r)["ended_at"] for r in (first, second)), timeout=30)
    assert "no such run" in kirby("runs", "cancel", "--job", talker, "--yes", code=4).err
    again = [kirby("runs", "rerun", over, "--key", "once", "-o", "json").json["run_id"] for _ in range(2)]
    assert again[0] == again[1] != over


def test_n2_a_job_paused_just_before_it_is_due_does_not_start(
    kirby: Command, script: Callable[[str], Path], unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    job, witness = unique_name("paused"), tmp_path / "witness"
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=20)
    file = script(f"open({str(witness)!r}, 'a').write('started')")
    kirby("deploy", str(file), "--job", job, "--env", "prod", "--at", due.isoformat())
    (run,) = eventually_sync(lambda: kirby.json("runs", "--job", job, "--ahead"), timeout=30)
    eventually_sync(lambda: datetime.now(UTC) > due - timedelta(seconds=2), timeout=30)
    paused = kirby("jobs", "set", job, "--paused", "--reason", "the source is down")
    eventually_sync(lambda: datetime.now(UTC) > due + timedelta(seconds=1), timeout=30)
    if run["run_id"] in paused.err:
        assert "Starting, too late for this change" in paused.err
    else:
        shown = kirby.json("runs", "show", run["run_id"])
        assert (shown["status"], shown["reason"]) == ("SKIPPED", f"job {job} is paused by admin: the source is down")
        assert not witness.exists()
    kirby("jobs", "set", job, "--resumed")


def test_which_run_is_meant_is_asked_precisely(kirby: Command, talker: str) -> None:
    assert "has no run yet" in kirby("logs", f"{talker}@prod", code=4).err
    assert "is not a run: give its id" in kirby("logs", "zz", code=2).err
    assert kirby("runs", "show", "00000000-0000-0000-0000-000000000000", code=4).err.startswith("there is no run")
    assert kirby("runs", "show", "00000000-0000", code=4).err.startswith("There is no run 00000000-0000")
    assert "'nope'" in kirby("trigger", "nope", "--env", "prod", code=None).err
    assert "BROKEN" in kirby("runs", "--status", "BROKEN", code=1).err


def test_runs_that_wait_for_their_due_time_are_listed_when_asked_for(
    kirby: Command, script: Callable[[str], Path], unique_name: Callable[[str], str]
) -> None:
    job = unique_name("often")
    kirby("deploy", str(script("print(1)")), "--job", job, "--env", "prod", "--every", "5s")
    ahead = eventually_sync(lambda: kirby.json("runs", "--job", job, "--ahead"), timeout=20)
    assert {"PENDING", "CLAIMED"} & {run["status"] for run in ahead}
    listed = kirby.json("runs", "--job", job)
    assert not [run for run in listed if is_ahead(run, now=datetime.now(UTC))]
    kirby("contexts", "set", f"{job}@prod", "--disabled")


def test_ctrl_c_ends_the_run_that_it_watches(suite: RunningSuite, script: Callable[[str], Path]) -> None:
    file = script("import time\nprint('started', flush=True)\ntime.sleep(600)\n")
    with subprocess.Popen(
        [sys.executable, "-m", "kirby.cli.main", "run", str(file)],
        env=clean_environment() | {"KIRBY_HOME": str(suite.home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(2)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "KILLED" in err
    assert "interrupted at the command line" in err


def test_every_runs_lines_as_they_come(suite: RunningSuite, kirby: Command, talker: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "kirby.cli.main", "logs", "--job", talker, "--level", "WARNING"],
        env=clean_environment() | {"KIRBY_HOME": str(suite.home)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        kirby("trigger", talker, "--env", "prod", "--wait")
        assert process.stdout is not None
        assert process.stdout.readline() == f"{talker}@prod | WARNING second\n"
        process.send_signal(2)
        assert process.wait(10) == 130
    assert "leave out RUN" in kirby("logs", f"{talker}@prod", "--job", talker, code=2).err
