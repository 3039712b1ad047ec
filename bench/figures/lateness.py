"""How late scheduled scripts begin: one job alone, and fifty and five hundred that are due at once."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.figure import Figure, p50, p99
from bench.suite import Suite, wait_for

# Begun before it was due: then it waited, armed. Its start is counted in ticks since the machine's own.
SCRIPT = """
import time
now = time.time()
import os
from datetime import datetime
due = datetime.fromisoformat(os.environ["KIRBY_DUE_AT"]).timestamp()
ticks = int(open("/proc/self/stat").read().rpartition(")")[2].split()[19])
since_start = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
print(now - due, int(time.time() - since_start < due - 0.1))
"""
ROOM = {"KIRBY_MAX_RUNNING": "600"}
ALONE = 15
TOGETHER = {50: 3, 500: 1}
"""How many at once, and how many times."""


def measure_alone(suite: Suite) -> list[Figure]:
    suite.deploy(SCRIPT, job="bench-late", options=("--every", "2s"))
    runs = wait_for(lambda: _ended(suite, "bench-late", at_least=ALONE + 2), what="runs of one job", timeout_s=120)
    suite.pause("bench-late")
    late = [_late(suite, run)[0] for run in runs[:ALONE]]  # Newest first: the first runs still built the venv.
    return [
        Figure("late, one job, armed: median", p50(late), "ms", "≤ 5", len(late)),
        Figure("late, one job, armed: p99", p99(late), "ms", "≤ 20", len(late)),
    ]


def measure_together(manner: str, suite: Suite) -> list[Figure]:
    """Jobs of one package with one instant each; `manner` is how the suite starts them: armed or plain."""
    suite.deploy(SCRIPT, job="bench-late")
    suite.trigger("bench-late", wait_s=60)
    return [figure for count, rounds in TOGETHER.items() for figure in _together(suite, manner, count, rounds)]


def _together(suite: Suite, manner: str, count: int, rounds: int) -> list[Figure]:
    seen = [late for number in range(rounds) for late in _round(suite, f"bench-{count}-{number}", count)]
    late = [ms for ms, _ in seen]
    fitted = sum(armed for _, armed in seen) / rounds
    name = f"late, {count} at once, {manner}"
    return [
        Figure(f"{name}: median", p50(late), "ms", samples=len(late), note=f"{fitted:.0f} of them waited, armed"),
        Figure(f"{name}: p99", p99(late), "ms", samples=len(late)),
        Figure(f"{name}: the last", max(late), "ms", samples=len(late)),
    ]


def _round(suite: Suite, stem: str, count: int) -> Sequence[tuple[float, bool]]:
    package = suite.context("bench-late")["script"]
    at = (datetime.now(UTC) + timedelta(seconds=30 + count / 4)).replace(microsecond=0)
    jobs = [f"{stem}-{n}" for n in range(count)]

    def deploy(job: str) -> None:
        deployment = {
            "job": job,
            "env": "bench",
            "type": "scheduled",
            "package_name": package["package_name"],
            "package_version": package["package_version"],
            "schedule": {"at": at.isoformat()},
        }
        with suite.client() as client:
            client.post("/deployments", json=deployment).raise_for_status()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(deploy, jobs))
        time.sleep(max(0.0, at.timestamp() - time.time()))
        return list(pool.map(lambda job: _late(suite, _first_end(suite, job)), jobs))


def _first_end(suite: Suite, job: str) -> dict[str, Any]:
    runs: list[dict[str, Any]] = wait_for(lambda: _ended(suite, job, at_least=1), what=job, timeout_s=180, every_s=0.5)
    return runs[0]


def _ended(suite: Suite, job: str, *, at_least: int) -> list[dict[str, Any]]:
    with suite.client() as client:
        query = {"job": job, "status": "SUCCEEDED", "limit": "100"}
        items: list[dict[str, Any]] = client.get("/runs", params=query).raise_for_status().json()["items"]
    return items if len(items) >= at_least else []


def _late(suite: Suite, run: dict[str, Any]) -> tuple[float, bool]:
    """Milliseconds after the due time, and whether the interpreter was up before it."""
    late, armed = suite.lines(run["run_id"])[0].split()
    return float(late) * 1000, armed == "1"
