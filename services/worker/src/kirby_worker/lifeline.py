"""The pipe that ends this process, and everything below it, with the suite."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable


def watch(fd: int, *, below: Callable[[], Iterable[int]]) -> None:
    """At the pipe's end, kills what `below` names and exits at once; shims watch the pipe themselves."""
    loop = asyncio.get_running_loop()

    def ended() -> None:
        if os.read(fd, 4096):
            return
        for pid in below():
            os.kill(pid, signal.SIGKILL)
        os._exit(1)

    os.set_inheritable(fd, False)
    loop.add_reader(fd, ended)
