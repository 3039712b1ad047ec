"""From printing a line to a client of the live log seeing it."""

import json
import time

from bench.figure import Figure, p50, p99
from bench.suite import Suite

LINES = 500
SCRIPT = f"""
import time
time.sleep(1)
for _ in range({LINES}):
    print(time.time(), flush=True)
    time.sleep(0.01)
"""


def measure(suite: Suite) -> list[Figure]:
    suite.deploy(SCRIPT, job="bench-follow")
    suite.trigger("bench-follow", wait_s=60)
    run = suite.trigger("bench-follow")
    delays = _follow(suite, run["run_id"])
    if len(delays) != LINES:
        raise RuntimeError(f"{len(delays)} of {LINES} lines came")
    return [
        Figure("printed → seen by a live client: p50", p50(delays), "ms", "≤ 50", LINES),
        Figure("printed → seen by a live client: p99", p99(delays), "ms", samples=LINES),
    ]


def _follow(suite: Suite, run_id: str) -> list[float]:
    delays: list[float] = []
    kind = ""
    with suite.client() as client, client.stream("GET", f"/runs/{run_id}/logs/stream") as answer:
        for text in answer.iter_lines():
            if text.startswith("event:"):
                kind = text.removeprefix("event:").strip()
            elif text.startswith("data:") and kind in ("line", "lines"):
                seen = time.time()
                data = json.loads(text.removeprefix("data:"))
                delays += [(seen - float(line["text"])) * 1000 for line in (data if kind == "lines" else [data])]
            elif kind == "end":
                break
    return delays
