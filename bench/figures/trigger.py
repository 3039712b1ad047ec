"""From asking for a run to the first line it prints, with its environment already built."""

import time

from bench.figure import Figure, p50, p99
from bench.suite import Suite

SCRIPT = "import time\nprint(time.time())\n"
TIMES = 30


def measure(suite: Suite) -> list[Figure]:
    suite.deploy(SCRIPT, job="bench-hello")
    suite.trigger("bench-hello", wait_s=60)
    delays = [_once(suite) for _ in range(TIMES)]
    return [
        Figure("trigger → first line, warm venv: median", p50(delays), "ms", "≤ 100", TIMES),
        Figure("trigger → first line, warm venv: p99", p99(delays), "ms", samples=TIMES),
    ]


def _once(suite: Suite) -> float:
    asked = time.time()
    run = suite.trigger("bench-hello", wait_s=60)
    return (float(suite.lines(run["run_id"])[0]) - asked) * 1000
