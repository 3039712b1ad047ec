"""`kirby supervisor NAME`: a worker and a scheduler candidate as two children, of which one knows the database."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from kirby_worker.shim.processes import descendants, start_time

from tests.eventually import eventually
from tests.integration.worker.worker_suite import WorkerProcess, WorkerSuite


def supervisor(suite: WorkerSuite, name: str, *, database: str, redis: str, **changes: str) -> WorkerProcess:
    environ = suite.environment(
        SQLALCHEMY_DATABASE_URI=database, REDIS_URL=redis, SECURITY_PASSWORD_SALT="s", **changes
    )  # fmt: skip
    del environ["KIRBY_WORKER_TOKEN"]
    errors = suite.folder / f"supervisor-{len(suite.started)}.log"
    with errors.open("wb") as file:
        command = [sys.executable, "-m", "kirby.cli.main", "supervisor", name, "--window", "2"]
        process = subprocess.Popen(command, env=environ, stdout=file, stderr=file)
    started = WorkerProcess(process, errors, name)
    suite.started.append(started)
    return started


def child(parent: int, word: str) -> int:
    """The child of `parent` that runs the command."""
    for pid in descendants(parent):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if word.encode() in words[2:5]:
            return pid
    raise AssertionError(f"no {word} below {parent}")


def variables(pid: int) -> set[str]:
    return {v.split(b"=")[0].decode() for v in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if v}


async def test_a_supervisor_schedules_and_works_and_heals_and_refuses_a_second(
    suite: WorkerSuite, ledger_database: str, redis_url: str, unique_name: Callable[[str], str]
) -> None:
    name = unique_name("server")
    first = supervisor(suite, name, database=ledger_database, redis=redis_url)
    context = await suite.context(unique_name("hello"), "print('hello')")
    await suite.enabled(context)
    assert (await suite.status(await suite.trigger(context))).status == "SUCCEEDED", first.said()

    hidden = {"SQLALCHEMY_DATABASE_URI", "SECRET_KEY", "SECURITY_PASSWORD_SALT", "REDIS_URL"}
    worker, scheduler = child(first.pid, "worker"), child(first.pid, "scheduler")
    assert not hidden & variables(worker)
    assert hidden <= variables(scheduler)
    assert b"kirbyw_" not in Path(f"/proc/{worker}/cmdline").read_bytes()

    second = supervisor(suite, name, database=ledger_database, redis=redis_url)
    assert await second.ended() == 1, second.said()
    sentence = f"supervisor name '{name}' is in use by {os.uname().nodename} since 20"
    assert any(line.startswith(sentence) for line in second.said().splitlines()), second.said()

    os.kill(worker, signal.SIGKILL)
    healed = await eventually(lambda: child(first.pid, "worker"), timeout=20)
    assert healed != worker
    assert (await suite.status(await suite.trigger(context))).status == "SUCCEEDED", first.said()

    assert await first.terminate() == 0, first.said()
    assert start_time(healed) is None
    assert start_time(scheduler) is None


async def test_a_killed_supervisor_takes_both_along(
    suite: WorkerSuite, ledger_database: str, redis_url: str, unique_name: Callable[[str], str]
) -> None:
    supervised = supervisor(suite, unique_name("server"), database=ledger_database, redis=redis_url)
    pids = await eventually(lambda: [child(supervised.pid, "worker"), child(supervised.pid, "scheduler")], timeout=30)
    supervised.kill()
    await eventually(lambda: all(start_time(pid) is None for pid in pids), timeout=20)


def test_settings_are_checked_in_one_sentence(tmp_path: Path) -> None:
    for command in ("worker", "supervisor"):
        bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        words = [sys.executable, "-m", "kirby.cli.main", command, "w1", "--check"]
        refused = subprocess.run(words, env=bare, capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert refused.stderr == "set KIRBY_URL to the api's base URL, for example http://127.0.0.1:8080\n"
        ok = subprocess.run(words, env=bare | {"KIRBY_URL": "http://x"}, capture_output=True, text=True, check=False)
        assert (ok.returncode, ok.stdout) == (0, "ok\n"), ok.stderr
