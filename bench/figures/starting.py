"""Cold and warm `make dev`: until the page answers, and until the first demo run succeeded.

Cold: a new home. Downloads are apart: jars and packages are in their caches, as after any earlier start.
Warm: the same home, stopped and started again.
"""

import json
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from bench.figure import Figure
from bench.suite import ROOT, Suite, home_folder, running, wait_for

RUNS = 3


def measure() -> list[Figure]:
    cold: list[tuple[float, float]] = []
    warm: list[tuple[float, float]] = []
    for _ in range(RUNS):
        home = home_folder()
        try:
            cold.append(_start_once(home))
            warm.append(_start_once(home))
        finally:
            shutil.rmtree(home.parent, ignore_errors=True)
    return [
        Figure("cold make dev: page", _median(cold, 0), "s", samples=RUNS),
        Figure("cold make dev: first demo run succeeded", _median(cold, 1), "s", samples=RUNS),
        Figure("warm make dev: page", _median(warm, 0), "s", "≤ 10", RUNS),
        Figure("warm make dev: first demo run succeeded", _median(warm, 1), "s", "≤ 15", RUNS),
    ]


def _median(times: list[tuple[float, float]], which: int) -> float:
    return sorted(pair[which] for pair in times)[len(times) // 2]


def _start_once(home: Path) -> tuple[float, float]:
    """Starts and stops a suite; returns the seconds to its page and to its first succeeded run of this start."""
    since = datetime.now(UTC)
    begin = time.monotonic()
    make = subprocess.Popen(
        ["make", "-C", str(ROOT), "dev", f"ARGS=--detach --home {home}"], stdout=subprocess.DEVNULL, text=True
    )
    suite = wait_for(lambda: _page(home, since=since), what="the page")
    page = time.monotonic() - begin
    wait_for(lambda: _succeeded(suite, since=since), what="the first demo run")
    first_run = time.monotonic() - begin
    make.wait(timeout=120)
    suite.stop()
    return page, first_run


def _page(home: Path, *, since: datetime) -> Suite | None:
    file = home / "kirby.json"
    try:
        if file.stat().st_mtime < since.timestamp():
            return None
        suite = running(home)
        return suite if httpx2.get(suite.url, timeout=1).status_code == 200 else None
    except (OSError, json.JSONDecodeError, KeyError, httpx2.HTTPError):
        return None


def _succeeded(suite: Suite, *, since: datetime) -> bool:
    """Whether a run that began since then succeeded; its row may be older, for due times are told of ahead."""
    try:
        with suite.client() as client:
            answer = client.get("/runs", params={"status": "SUCCEEDED", "limit": "100"}).raise_for_status()
        return any(datetime.fromisoformat(run["started_at"]) >= since for run in answer.json()["items"])
    except httpx2.HTTPError:
        return False
