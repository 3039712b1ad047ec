"""Starts as an idle process that waits for a task; started as `python -I -S -c "…"`, see `launch.py`."""

import os
import select
import socket
import sys
from typing import Any

from kirby_worker.shim import child
from kirby_worker.shim.processes import become_subreaper
from kirby_worker.shim.run import Run
from kirby_worker.shim.wire import Lines


def main(control_fd: int, lifeline_fd: int) -> None:
    """Waits at the worker's socket for one task, and serves it; ends when the worker or the suite goes away first.

    A `load` that comes before the task brings up an interpreter that waits for it, too.
    """
    os.set_inheritable(control_fd, False)
    lifeline = lifeline_fd if lifeline_fd >= 0 else None
    if lifeline is not None:
        os.set_inheritable(lifeline, False)
    umask = os.umask(0o077)
    become_subreaper()
    worker = Lines(socket.socket(fileno=control_fd))
    idle = Idle(umask)
    task = idle.wait_for_task(worker, lifeline)
    if task is None:
        return
    try:
        run = Run(task, waiting=idle.waiting, worker=worker, lifeline=lifeline)
    except OSError as error:
        worker.send({"t": "not_launched", "reason": f"the run could not be prepared: {error}"})
        worker.finish(within_s=1.0)
        return
    run.run()


class Idle:
    """A shim without a task, alone or with an interpreter that waits."""

    def __init__(self, umask: int) -> None:
        self._umask = umask
        self.waiting: child.Waiting | None = None

    def wait_for_task(self, worker: Lines, lifeline: int | None) -> dict[str, Any] | None:
        """None: there will be none."""
        poll = select.poll()
        poll.register(worker.fileno(), select.POLLIN)
        if lifeline is not None:
            poll.register(lifeline, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if lifeline in ready:
                return None
            for message in worker.receive():
                message["umask"] = self._umask
                if message["t"] == "task":
                    return message
                self.waiting = child.fork(message)
            if worker.closed:
                return None


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
