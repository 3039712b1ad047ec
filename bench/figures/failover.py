"""How long the suite has no leader, how late runs are meanwhile, and when a dead worker's run is called lost."""

import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from bench.figure import Figure, p50, p99
from bench.suite import KIRBY, Suite, clean_environment, wait_for

DEATHS = 5
DEAD_WORKERS = 2
POOL = "bench-dead"
LATE = """
import time
now = time.time()
import os
from datetime import datetime
print(now - datetime.fromisoformat(os.environ["KIRBY_DUE_AT"]).timestamp())
"""
LONG = "import time\nprint('here', flush=True)\ntime.sleep(3600)\n"


def measure(suite: Suite) -> list[Figure]:
    """On a suite with two scheduler candidates, whose window is the usual one of 5 s."""
    suite.deploy(LATE, job="bench-every", options=("--every", "1s"))
    wait_for(lambda: suite.runs("bench-every", status="SUCCEEDED"), what="a first run")
    figures = []
    for name, signum in (("kill -9", signal.SIGKILL), ("SIGSTOP", signal.SIGSTOP)):
        gaps = [_without_leader(suite, signum) for _ in range(DEATHS)]
        waits = [end - begin for begin, end in gaps]
        late = [ms for begin, end in gaps for ms in _late_between(suite, begin, end)]
        figures += [
            Figure(f"leader {name}: a new one leads, median", p50(waits), "s", "≤ 5", DEATHS),
            Figure(f"leader {name}: a new one leads, the longest", max(waits), "s", "≤ 8", DEATHS),
            Figure(f"leader {name}: late of what was due meanwhile, median", p50(late), "ms", samples=len(late)),
            Figure(f"leader {name}: late of what was due meanwhile, p99", p99(late), "ms", samples=len(late)),
        ]
    suite.pause("bench-every")
    settled = [_dead_worker(suite, f"{POOL}-{n}") for n in range(DEAD_WORKERS)]
    return [*figures, Figure("a dead worker's run is told of, the longest", max(settled), "s", "≤ 30", DEAD_WORKERS)]


def _without_leader(suite: Suite, signum: signal.Signals) -> tuple[float, float]:
    """When the leader got the signal, and when another led; in seconds since the epoch."""
    before = wait_for(lambda: _leader(suite), what="a leader that lives")
    part = next(p for name, p in suite.parts().items() if name.startswith("scheduler") and _leads(suite, p, before))
    began = time.time()
    os.kill(part["pid"], signum)
    try:
        wait_for(lambda: (_leader(suite) or before)["since"] != before["since"], what="a new leader", timeout_s=60)
        ended = time.time()
    finally:
        with suppress(ProcessLookupError):
            os.kill(part["pid"], signal.SIGCONT)
    time.sleep(6)  # Until the fallen one is a candidate again, and what was due meanwhile has run.
    return began, ended


def _leads(suite: Suite, part: dict[str, Any], leader: dict[str, Any]) -> bool:
    """Whether the part is started under the leader's name: each is told its name on the command line."""
    with suppress(psutil.NoSuchProcess):
        return str(leader["name"]) in psutil.Process(part["pid"]).cmdline()
    return False


def _leader(suite: Suite) -> dict[str, Any] | None:
    with suite.client() as client:
        leader: dict[str, Any] | None = client.get("/health").raise_for_status().json()["leader"]
    return leader if leader and leader["alive"] else None


def _late_between(suite: Suite, begin: float, end: float) -> list[float]:
    due = [
        run
        for run in suite.runs("bench-every", limit=100)
        if begin <= datetime.fromisoformat(run["due_at"]).timestamp() <= end
    ]
    ended = [run for run in due if run["status"] == "SUCCEEDED"]
    if len(ended) != len(due) or not due:
        raise RuntimeError(f"of {len(due)} runs due without a leader, {len(ended)} succeeded")
    return [float(suite.lines(run["run_id"])[0]) * 1000 for run in ended]


def _dead_worker(suite: Suite, name: str) -> float:
    """Seconds from the end of a worker, with all it had started, until its run is LOST."""
    suite.deploy(LONG, job=name)
    with suite.client() as client:
        client.patch(f"/contexts/{name}@bench", json={"pool": name}).raise_for_status()
    with _worker(suite, name) as process:
        run = suite.trigger(name)
        wait_for(lambda: suite.status(run["run_id"]) == "RUNNING", what="its run")
        time.sleep(1)
        tree = [process, *process.children(recursive=True)]
        for each in tree:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        began = time.monotonic()
        wait_for(lambda: suite.status(run["run_id"]) == "LOST", what="the loss", every_s=0.1)
        return time.monotonic() - began


@contextmanager
def _worker(suite: Suite, name: str) -> Iterator[psutil.Process]:
    with suite.client() as client:
        token = client.post("/supervisors", json={"name": name}).raise_for_status().json()["token"]
        places = client.get("/endpoints").raise_for_status().json()
    ports = {part: found["port"] for part, found in suite.parts().items()}
    with tempfile.TemporaryDirectory(prefix="kirby-bench-worker-") as home:
        env = clean_environment() | {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{ports['kafka']}",
            "KIRBY_SUPERVISOR_GROUP_ID": name,
            "KIRBY_LEDGER_URL": places["ledger"],
            "KIRBY_PACKAGE_INDEX_URL": places["index"],
            "KIRBY_WORKER_TOKEN": token,
            "KIRBY_WORKER_HOME": str(Path(home) / "home"),
            "KIRBY_VAULT_URL": places["vault"] or "",
        }
        command = [str(KIRBY), "worker", name, "--port", str(20000 + secrets.randbelow(9000))]
        log = (Path(home) / "log").open("wb")
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()
            process.wait()
            log.close()
