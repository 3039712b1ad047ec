"""Starts the worker from the command line, and says in one sentence why it can't."""

import asyncio
import os
import sys

import structlog
from kirby_common import failpoints, logs, runtime
from kirby_common.settings import load

from kirby_worker.adapters.endpoint import Gone, NameTaken, Refused
from kirby_worker.adapters.home import HomeInUse, HomeUnusable
from kirby_worker.preparing import RunAs
from kirby_worker.settings import WorkerSettings

log = structlog.get_logger()

REFUSED, WRONG_SETTINGS = 1, 2
CRASHED, GONE = 70, 75
"""Exit codes: a supervisor starts a worker anew only after the latter two."""


def start_worker(name: str, *, token_fd: int | None, host: str | None, port: int | None, check: bool) -> int:
    """Returns the exit code."""
    try:
        settings = load(WorkerSettings)
        if settings.kirby_run_as:
            RunAs.named(settings.kirby_run_as)
        if check:
            print("ok")  # noqa: T201 - The command's answer.
            return 0
        token = _token(settings, token_fd)
    except ValueError as error:
        return _say(str(error), WRONG_SETTINGS)
    logs.configure(service="worker", log_format=settings.log_format, level=settings.kirby_log_level)
    failpoints.arm(os.environ)
    return _run(settings, name, token, host or settings.kirby_health_host, port)


def _run(settings: WorkerSettings, name: str, token: str, host: str, port: int | None) -> int:
    from kirby_worker.main import serve

    outcome = 0

    async def service(stop: asyncio.Event) -> None:
        nonlocal outcome
        health_port = settings.kirby_health_port if port is None else port
        try:
            await serve(stop, settings=settings, name=name, token=token, host=host, port=health_port)
        except* (HomeInUse, HomeUnusable, runtime.CannotListen, NameTaken, Refused, Gone) as group:
            outcome = _explain(name, _first(group))

    try:
        return CRASHED if runtime.run(service) else outcome
    except Exception:
        # Code 1 is for what a new start can't mend.
        log.exception("worker.crashed")
        return CRASHED


def _explain(name: str, error: BaseException) -> int:
    if isinstance(error, HomeInUse) and error.name != name:
        return _say(
            f"the worker's folder is in use by the worker {error.name!r}: set another KIRBY_WORKER_HOME", REFUSED
        )
    if isinstance(error, Gone):
        return _say(f"this worker no longer holds its name: {error}", GONE)
    return _say(str(error), REFUSED)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _token(settings: WorkerSettings, fd: int | None) -> str:
    if fd is not None:
        with os.fdopen(fd) as pipe:
            token = pipe.readline().strip()
        if not token:
            raise ValueError("no worker token came through the file descriptor")
        return token
    if settings.kirby_worker_token is None:
        raise ValueError("KIRBY_WORKER_TOKEN is not set: `kirby supervisors add NAME` makes a token")
    return settings.kirby_worker_token.get_secret_value()


def _say(sentence: str, code: int) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201 - The command's answer.
    return code
