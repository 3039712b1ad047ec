"""How many lines a second go from a script to where they can be read again, none missing."""

from datetime import datetime

from bench.figure import Figure, p50
from bench.suite import Suite, wait_for

LINES = 300_000
TIMES = 3
SCRIPT = f"""
import sys
for number in range({LINES}):
    sys.stdout.write(f"{{number:08d}} the quick brown fox jumps over the lazy dog, again and again and again\\n")
"""


def measure(suite: Suite) -> list[Figure]:
    suite.deploy(SCRIPT, job="bench-flood")
    rates = [_once(suite) for _ in range(TIMES)]
    return [Figure("log lines recorded", p50(rates), "lines/s", "≥ 20000", TIMES, f"{LINES} lines of 80 bytes")]


def _once(suite: Suite) -> float:
    """From the script's start until its log is complete."""
    run = suite.trigger("bench-flood")
    with suite.client() as client:

        def done() -> dict[str, object] | None:
            answer = client.get(f"/runs/{run['run_id']}")
            known: dict[str, object] = answer.raise_for_status().json()
            log = answer.json()["log"]
            return known if log and log["complete"] else None

        ended = wait_for(done, what="the flood's log", timeout_s=180, every_s=0.05)
        now = datetime.now().astimezone()
    if ended["log"]["lines"] != LINES:
        raise RuntimeError(f"{ended['log']['lines']} of {LINES} lines were recorded")
    return LINES / (now - datetime.fromisoformat(ended["started_at"])).total_seconds()
