"""`kirby worker NAME` and `kirby supervisor NAME`."""

import os
from typing import Annotated

from cyclopts import App, Parameter

worker = App(name="worker", help="Run scripts on this machine: build their environments, start them, ship their logs.")
supervisor = App(name="supervisor", help="Run a worker and a scheduler candidate under one name.")

Name = Annotated[str, Parameter(help="The worker's unique name.")]
Label = Annotated[
    list[str] | None,
    Parameter(
        name="--label", negative="", help="NAME=VALUE: what it has; jobs ask for it by worker_labels. Repeatable."
    ),
]
Check = Annotated[bool, Parameter(help="Validate the settings, print ok, and connect to nothing.")]


@worker.default
def run_worker(
    name: Name,
    /,
    *,
    token_fd: Annotated[int | None, Parameter(help="Read the worker token from this file descriptor.")] = None,
    host: Annotated[str | None, Parameter(help="The address of /healthz and /readyz.")] = None,
    port: Annotated[int | None, Parameter(help="The port of /healthz and /readyz; 0 picks a free one.")] = None,
    label: Label = None,
    check: Check = False,
) -> int:
    """Run scripts on this machine."""
    from kirby_worker.start import start_worker

    _label(label)
    return start_worker(name, token_fd=token_fd, host=host, port=port, check=check)


@supervisor.default
def run_supervisor(
    name: Name,
    /,
    *,
    window: Annotated[float, Parameter(help="The leader's lease in seconds.")] = 5,
    wakeup: Annotated[float, Parameter(help="The leader's longest sleep in seconds when nothing is due.")] = 30,
    label: Label = None,
    check: Check = False,
) -> int:
    """Run a worker and a scheduler candidate under one name."""
    from kirby_worker.supervising import supervise

    _label(label)
    return supervise(name, window=window, wakeup=wakeup, check=check)


def _label(labels: list[str] | None) -> None:
    """Adds to the setting, from where a supervisor's worker has it, too."""
    if labels:
        os.environ["KIRBY_WORKER_LABELS"] = ",".join([os.environ.get("KIRBY_WORKER_LABELS", ""), *labels])
