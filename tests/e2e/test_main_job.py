"""The main job as a user sees it, on the running suite: acceptance lines M4 to M8 and M10 to M14."""

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from confluent_kafka.admin import AdminClient

from tests.eventually import eventually_sync
from tests.stores.suites import RunningSuite

Name = Callable[[str], str]
WITNESS = """
import os, sys, time
def testify(what):
    fd = os.open({file!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, f"{{os.environ['KIRBY_RUN_ID']}} {{what}}\\n".encode()); os.fsync(fd); os.close(fd)
testify("start")
for n in range({lines}):
    print("line", n, flush=True)
    time.sleep({pause})
testify("end")
"""


def witness(folder: Path, *, lines: int = 1, pause: float = 0.0) -> tuple[Path, Path]:
    """A script that testifies outside Kirby, and the file it does that in."""
    file = folder / "testimony"
    script = folder / "witness_script.py"
    script.write_text(WITNESS.format(file=str(file), lines=lines, pause=pause))
    return script, file


def said(file: Path, what: str) -> Counter[str]:
    if not file.exists():
        return Counter()
    return Counter(line.split()[0] for line in file.read_text().splitlines() if line.endswith(what))


def runs_of(suite: RunningSuite, job: str) -> list[dict[str, Any]]:
    return [run for run in suite.json("runs", "--job", job, "-n", "200") if run["job"] == job]


def the_end(suite: RunningSuite, run_id: str, *, timeout: float = 60) -> dict[str, Any]:
    """The run, once it is over."""

    def look() -> dict[str, Any] | None:
        run: dict[str, Any] = suite.json("runs", "show", run_id)
        return run if run["status"] in {"SUCCEEDED", "FAILED", "KILLED", "LOST", "CANCELLED"} else None

    run = eventually_sync(look, timeout=timeout, what="the run's end")
    assert run is not None
    return run


@pytest.fixture
def deploy(suite: RunningSuite) -> Any:
    """Deploys for one test; the jobs are disabled after it."""
    made: list[str] = []

    def deploy(script: Path, job: str, *options: str) -> None:
        made.append(job)
        suite.kirby("deploy", str(script), "--job", job, "--env", "prod", *options)

    yield deploy
    with httpx2.Client(base_url=suite.url, headers={"Authorization": f"Bearer {suite.token}"}) as client:
        for job in made:
            client.patch(f"/api/v1/contexts/{job}@prod", json={"enabled": False}).raise_for_status()


def test_m4_a_killed_worker_costs_a_run_nothing(
    suite: RunningSuite, deploy: Any, unique_name: Name, tmp_path: Path
) -> None:
    script, file = witness(tmp_path, lines=16, pause=0.5)
    job = unique_name("long")
    deploy(script, job)
    run_id = json.loads(suite.kirby("trigger", job, "--env", "prod", "-o", "json").stdout)["run_id"]
    eventually_sync(lambda: said(file, "start"), timeout=20)
    os.kill(suite.part("worker")["pid"], signal.SIGKILL)
    run = the_end(suite, run_id)
    assert (run["status"], [a["attempt"] for a in run["attempts"]]) == ("SUCCEEDED", [1])
    assert said(file, "start") == said(file, "end") == {run_id: 1}
    eventually_sync(lambda: suite.kirby("logs", run_id).stdout.count("line ") == 16, timeout=20, what="all lines")


def test_m5_a_supervisor_name_is_used_once(suite: RunningSuite) -> None:
    env = {**suite.env, "KIRBY_URL": suite.url, "KIRBY_WORKER_HOME": str(suite.home / "other-worker")}
    done = suite.kirby("supervisor", "local", check=False, env=env)
    assert done.returncode == 1
    assert "supervisor name 'local' is in use by " in done.stderr
    assert " since " in done.stderr
    assert "Traceback" not in done.stderr


def test_m6_a_user_is_added_once(suite: RunningSuite, unique_name: Name) -> None:
    name = unique_name("bob")
    first = suite.kirby("adduser", name, input="pw12345678\nn\n", env=suite.env)
    assert f"User {name} added" in first.stdout
    again = suite.kirby("adduser", name, input="pw12345678\nn\n", env=suite.env, check=False)
    assert again.returncode == 1
    assert f"User {name} exists" in again.stdout + again.stderr


def test_m7_the_schedule_of_old_is_served(suite: RunningSuite, deploy: Any, unique_name: Name, tmp_path: Path) -> None:
    script, _ = witness(tmp_path)
    deploy(script, unique_name("minutely"), "--schedule", "* * * * *")
    answer = httpx2.get(f"{suite.url}/schedule", headers={"Authorization": f"Bearer {suite.token}"}).json()
    assert {"name", "type", "environment", "package_name", "package_version", "notifications", "variables"} <= set(
        answer["jobs"][0]
    )


def test_m8_the_topics_are_as_registered_and_no_others_are_made(suite: RunningSuite) -> None:
    client = AdminClient({"bootstrap.servers": suite.env["KAFKA_BOOTSTRAP_SERVERS"]})
    topics = set(client.list_topics(timeout=10).topics)
    assert {".kirby.job-offers.scheduled", ".kirby.job-offers.daemon", ".kirby.run-events", ".kirby.logs"} <= topics
    client.list_topics("nobody-made-this", timeout=10)
    assert "nobody-made-this" not in client.list_topics(timeout=10).topics


def test_m10_busy_cores_delay_no_beat(suite: RunningSuite, deploy: Any, unique_name: Name, tmp_path: Path) -> None:
    script = tmp_path / "busy.py"
    script.write_text(
        "import time\nend = time.monotonic() + 8\nn = 0\nwhile time.monotonic() < end:\n    n += 1\nprint(n)\n"
    )
    job = unique_name("busy")
    deploy(script, job, "--policy", "overlap=allow")
    ids = [json.loads(suite.kirby("trigger", job, "--env", "prod", "-o", "json").stdout)["run_id"] for _ in range(4)]
    for run_id in ids:
        assert the_end(suite, run_id, timeout=90)["status"] == "SUCCEEDED"
    (worker,) = [w for w in suite.json("supervisors") if w["name"] == "local"]
    assert worker["max_beat_gap_ms"] <= 0.3 * worker["lease_ms"]


def test_m11_each_run_names_its_version(suite: RunningSuite, deploy: Any, unique_name: Name, tmp_path: Path) -> None:
    job = unique_name("hello")
    script = tmp_path / f"{job.replace('-', '_')}.py"
    script.write_text("print('one')\n")
    deploy(script, job, "--every", "2s")
    eventually_sync(lambda: any(r["status"] == "SUCCEEDED" for r in runs_of(suite, job)), timeout=30)
    script.write_text("print('two')\n")
    deploy(script, job, "--every", "2s")

    def versions() -> dict[str, str]:
        return {r["package_version"]: r["run_id"] for r in runs_of(suite, job) if r["status"] == "SUCCEEDED"}

    eventually_sync(lambda: len(versions()) == 2, timeout=30, what="two versions")
    used = versions()

    def printed() -> set[str]:
        return {suite.kirby("logs", run_id).stdout.strip() for run_id in used.values()}

    eventually_sync(lambda: printed() == {"one", "two"}, timeout=20, what="what the two versions print")
    listed = {s["package_version"] for s in suite.json("scripts", "list") if s["package_name"] == job}
    assert listed == set(used)


def test_m12_the_demo_leaves_data_alone(suite: RunningSuite, deploy: Any, unique_name: Name, tmp_path: Path) -> None:
    script, _ = witness(tmp_path)
    deploy(script, unique_name("there"))
    before = [one["name"] for one in suite.json("jobs", "list")]
    done = suite.kirby("demo", check=False, env=suite.env)
    assert done.returncode == 1
    assert "not empty" in done.stderr
    assert [one["name"] for one in suite.json("jobs", "list")] == before


def test_m13_what_can_not_be_deployed_is_told_and_leaves_nothing(
    suite: RunningSuite, unique_name: Name, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("def f(:\n")
    needy = tmp_path / "needy.py"
    needy.write_text('# /// script\n# dependencies = ["no-such-package-of-kirby-tests==9.9"]\n# ///\nprint(1)\n')
    for script, words in ((broken, "line 1"), (needy, "no-such-package-of-kirby-tests")):
        job = unique_name("bad")
        done = suite.kirby("deploy", str(script), "--job", job, "--env", "prod", "--every", "1h", check=False)
        assert done.returncode != 0
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert job not in {j["name"] for j in suite.json("jobs", "list")}


def test_m14_runs_go_on_without_kafka_and_no_line_is_lost(
    suite: RunningSuite, deploy: Any, unique_name: Name, tmp_path: Path
) -> None:
    script, file = witness(tmp_path, lines=3, pause=0.1)
    job = unique_name("steady")
    deploy(script, job, "--every", "2s")
    eventually_sync(lambda: len(said(file, "end")) >= 1, timeout=30)
    broker = suite.part("kafka")["pid"]
    tree = [broker, *_below(broker)]
    before = len(said(file, "end"))
    for pid in tree:
        os.kill(pid, signal.SIGSTOP)
    try:
        eventually_sync(lambda: len(said(file, "end")) >= before + 4, timeout=40, what="runs without Kafka")
    finally:
        for pid in tree:
            os.kill(pid, signal.SIGCONT)
    assert set(said(file, "start").values()) == {1}
    expected = ["line 0", "line 1", "line 2"]
    for run_id in said(file, "end"):
        eventually_sync(partial(_has_lines, suite, run_id, expected), timeout=60, what=f"all lines of {run_id}")


def _has_lines(suite: RunningSuite, run_id: str, expected: list[str]) -> bool:
    return suite.kirby("logs", run_id).stdout.splitlines() == expected


def _below(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [int(one) for one in found] + [deeper for one in found for deeper in _below(int(one))]


def test_a_burst_of_triggers_starts_each_once(
    suite: RunningSuite, deploy: Any, unique_name: Name, tmp_path: Path
) -> None:
    script, file = witness(tmp_path)
    job = unique_name("burst")
    deploy(script, job, "--policy", "overlap=allow")
    headers = {"Authorization": f"Bearer {suite.token}"}
    with httpx2.Client(base_url=suite.url, headers=headers, timeout=30) as client:
        for n in range(30):
            for _ in range(2):
                answer = client.post(
                    "/api/v1/runs", json={"job": job, "env": "prod"}, headers={"Idempotency-Key": f"{job}-{n}"}
                )
                assert answer.status_code == 202, answer.text
    eventually_sync(lambda: len(said(file, "end")) == 30, timeout=60, what="thirty ends")
    assert set(said(file, "start").values()) == {1}
