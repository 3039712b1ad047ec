"""A home from its first start to its end: `kirby dev` as a user sees it."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.eventually import eventually_sync
from tests.stores.suites import RunningSuite, clean_environment, new_home

_ROOT = Path(__file__).parents[2]
_PARTS = ["kafka", "postgres", "redis", "index", "api", "ledger", "vault", "notifier", "scheduler", "worker"]


@pytest.fixture(scope="module")
def demo() -> Iterator[RunningSuite]:
    """A second home beside the shared one, with the demo, started as the README says."""
    with new_home() as home:
        done = subprocess.run(
            ["make", "dev", f"ARGS=--detach --home {home.home}"],
            cwd=_ROOT,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "/login-link/" in done.stdout
        yield home


def test_m2_a_demo_run_succeeds_and_its_lines_can_be_read(demo: RunningSuite) -> None:
    run = eventually_sync(lambda: _succeeded(demo), timeout=30, what="a run of the demo")
    assert run is not None
    assert demo.kirby("logs", run["run_id"]).stdout.strip()


def test_status_tells_of_every_part(demo: RunningSuite) -> None:
    status = json.loads(demo.kirby("dev", "status", "-o", "json").stdout)
    assert status["ready"] is True
    assert status["url"] == demo.url
    assert [part["name"] for part in status["parts"]] == _PARTS
    for part in status["parts"]:
        assert part["ready"], part
        assert psutil.pid_exists(part["pid"])
        assert part["version"][0].isdigit()


def test_everything_listens_on_the_loopback_only(demo: RunningSuite) -> None:
    listening = [address for process in _processes_of(demo) for address in _listening(process)]
    assert set(listening) <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert len(listening) >= len(_PARTS)


def test_workers_know_neither_the_database_nor_the_signing_keys(demo: RunningSuite) -> None:
    environment = psutil.Process(demo.part("worker")["pid"]).environ()
    secret = {"SQLALCHEMY_DATABASE_URI", "SECRET_KEY", "SECURITY_PASSWORD_SALT", "REDIS_URL"}
    assert not secret & set(environment)


def test_the_same_home_is_refused_a_second_time(demo: RunningSuite) -> None:
    refused = demo.kirby("dev", "--detach", check=False)
    assert refused.returncode == 5
    assert "kirby dev already runs in" in refused.stderr


def test_every_killed_part_is_back_within_five_seconds(demo: RunningSuite) -> None:
    for name in _PARTS:
        killed = demo.recorded["parts"][name]["pid"]
        os.kill(killed, signal.SIGKILL)
        eventually_sync(partial(_has_another_process, demo, name, killed), timeout=5, what=f"a new {name}")
    eventually_sync(lambda: demo.kirby("dev", "status", check=False).returncode == 0, timeout=60, every=0.5)


def test_m3_nothing_outlives_a_killed_parent_and_the_runs_are_still_there(demo: RunningSuite) -> None:
    before = {run["run_id"] for run in demo.json("runs", "--status", "SUCCEEDED", "-n", "5")}
    processes = _processes_of(demo)
    os.kill(_supervisor(demo).pid, signal.SIGKILL)
    eventually_sync(lambda: not any(_lives(process) for process in processes), timeout=5, what="the end of all")
    assert not _mentioning(demo.home)
    demo.start()
    assert before
    assert before <= {run["run_id"] for run in demo.json("runs", "--status", "SUCCEEDED", "-n", "500")}


def test_stop_ends_everything_and_reset_deletes_the_data(demo: RunningSuite) -> None:
    processes = _processes_of(demo)
    assert "stopped" in demo.kirby("dev", "stop").stdout
    assert not [process for process in processes if _lives(process)]
    status = demo.kirby("dev", "status", check=False)
    assert status.returncode == 3
    assert demo.kirby("dev", "reset", check=False, input="").returncode == 2
    assert demo.home.exists()
    demo.kirby("dev", "reset", "--yes")
    assert not demo.home.exists()


def _succeeded(suite: RunningSuite) -> dict[str, str] | None:
    return next((run for run in suite.json("runs") if run["status"] == "SUCCEEDED"), None)


def _supervisor(suite: RunningSuite) -> psutil.Process:
    return psutil.Process(int((suite.home / "lock").read_text()))


def _processes_of(suite: RunningSuite) -> list[psutil.Process]:
    top = _supervisor(suite)
    return [top, *top.children(recursive=True)]


def _listening(process: psutil.Process) -> list[str]:
    try:
        connections = process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return []
    return [one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN]


def _has_another_process(suite: RunningSuite, name: str, pid: int) -> bool:
    return suite.recorded["parts"][name]["pid"] not in (pid, None)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _mentioning(home: Path) -> list[str]:
    """Command lines that name the home, as `pgrep -f` finds them."""
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(home) in line]
