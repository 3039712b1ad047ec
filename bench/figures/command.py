"""How long a command takes, from the shell's point of view."""

import time

from bench.figure import Figure, p50
from bench.suite import Suite

TIMES = 15


def measure(suite: Suite) -> list[Figure]:
    commands = {"kirby runs": ("runs", "-o", "json"), "kirby jobs list": ("jobs", "list", "-o", "json")}
    return [
        Figure(f"command: {name}", p50([_once(suite, args) for _ in range(TIMES)]), "ms", "≤ 250", TIMES)
        for name, args in commands.items()
    ]


def _once(suite: Suite, args: tuple[str, ...]) -> float:
    begin = time.perf_counter()
    suite.kirby(*args)
    return (time.perf_counter() - begin) * 1000
