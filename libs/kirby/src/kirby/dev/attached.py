"""Running in the foreground, or for a `--detach` that waits at the other end of a pipe."""

import asyncio
import os
import sys

from kirby.dev.home import Home
from kirby.dev.running import Life, Options


def run(home: Home, *, supervisors: int, demo: bool, verbose: bool, report_fd: int | None) -> int:
    """Runs until it is stopped. Raises `HomeInUse` and `PartFailed`."""
    with home.held():
        return asyncio.run(_run(home, Options(supervisors, demo, verbose), report_fd))


async def _run(home: Home, options: Options, report_fd: int | None) -> int:
    life = Life(home, options)
    if report_fd is None:
        await life.run(on_ready=lambda: life.screen.say("Ctrl-C stops everything; the data stays."))
        return 0
    report = os.fdopen(report_fd, "w")
    life.screen.to(report)

    def detach() -> None:
        life.screen.to(sys.stdout)
        report.write("ready\n")
        report.close()

    await life.run(on_ready=detach)
    return 0
