"""`kirby supervisor NAME`: a worker and a scheduler candidate as two child processes.

Only the scheduler knows the database. It enrols the worker: it writes a hashed token to the ledger and hands the
token over by pipe; the worker gets it by another one, each time it is started.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from kirby_common import logs
from kirby_common.settings import ServiceSettings, load

from kirby_worker.settings import WorkerSettings
from kirby_worker.shim.processes import die_with_parent
from kirby_worker.start import REFUSED, WRONG_SETTINGS

log = structlog.get_logger()

HIDDEN_FROM_WORKER = ("SQLALCHEMY_DATABASE_URI", "SECRET_KEY", "SECURITY_PASSWORD_SALT", "REDIS_URL")
_FATAL = (REFUSED, WRONG_SETTINGS)
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_STEADY_S = 60.0
_STOP_S = 20.0


@dataclass
class Part:
    """One child, started anew with growing pauses when it crashes."""

    name: str
    process: subprocess.Popen[bytes] | None = None
    wait_s: float = _FIRST_WAIT_S
    started_at: float = 0.0
    start_at: float = field(default_factory=time.monotonic)

    def started(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.started_at = process, time.monotonic()

    def ended(self) -> int | None:
        """The exit code, once."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        self.process = None
        steady = time.monotonic() - self.started_at > _STEADY_S
        self.wait_s = _FIRST_WAIT_S if steady else min(self.wait_s * 2, _LONGEST_WAIT_S)
        self.start_at = time.monotonic() + self.wait_s
        return code


class Supervisor:
    def __init__(self, name: str, *, window: float, wakeup: float, environ: Mapping[str, str]) -> None:
        self._name = name
        self._window = window
        self._wakeup = wakeup
        self._environ = dict(environ)
        self._token: str | None = None
        self._enrolment: int | None = None
        self._scheduler = Part("scheduler")
        self._worker = Part("worker")
        self._stop = False
        # Several supervisors share a machine: free ports, unless one is named; the scheduler has the next one.
        named = environ.get("KIRBY_HEALTH_PORT", "")
        self._health_port = int(named) if named.isdigit() else 0
        self._lifeline = int(environ["KIRBY_LIFELINE_FD"]) if "KIRBY_LIFELINE_FD" in environ else None

    def run(self) -> int:
        """Runs both until told to stop, or until one can't run at all; returns the exit code."""
        wake_r, wake_w = os.pipe()
        os.set_blocking(wake_w, False)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        code = 0
        while not self._stop and not code:
            self._start_what_is_down()
            self._wait(wake_r)
            code = self._look_after(self._worker) or self._look_after(self._scheduler)
        self._end()
        return code

    def _on_signal(self, *_: object) -> None:
        self._stop = True

    def _wait(self, wake: int) -> None:
        watched = [wake] + ([] if self._enrolment is None else [self._enrolment])
        readable, _, _ = select.select(watched, [], [], 0.2 if self._pausing() else 1.0)
        if wake in readable:
            os.read(wake, 4096)
        if self._enrolment in readable:
            self._take_token()

    def _pausing(self) -> bool:
        return self._scheduler.process is None or (self._worker.process is None and self._token is not None)

    def _start_what_is_down(self) -> None:
        now = time.monotonic()
        if self._scheduler.process is None and now >= self._scheduler.start_at:
            self._start_scheduler()
        if self._worker.process is None and self._token is not None and now >= self._worker.start_at:
            self._start_worker(self._token)

    def _start_scheduler(self) -> None:
        options = ["--name", self._name, "--window", f"{self._window:g}", "--wakeup", f"{self._wakeup:g}"]
        options += ["--port", str(self._health_port + 1 if self._health_port else 0)]
        if self._token is not None:
            self._scheduler.started(self._spawn(["scheduler", *options], self._environ, ()))
            return
        if self._enrolment is not None:
            os.close(self._enrolment)
        self._enrolment, write = os.pipe()
        options += ["--enrol", self._name, "--enrol-fd", str(write)]
        self._scheduler.started(self._spawn(["scheduler", *options], self._environ, (write,)))
        os.close(write)

    def _take_token(self) -> None:
        assert self._enrolment is not None
        with os.fdopen(self._enrolment) as pipe:
            self._token = pipe.readline().strip() or None
        self._enrolment = None

    def _start_worker(self, token: str) -> None:
        environ = {name: value for name, value in self._environ.items() if name not in HIDDEN_FROM_WORKER}
        read, write = os.pipe()
        os.write(write, f"{token}\n".encode())
        os.close(write)
        options = ["--token-fd", str(read), "--port", str(self._health_port)]
        self._worker.started(self._spawn(["worker", self._name, *options], environ, (read,)))
        os.close(read)

    def _spawn(
        self, command: list[str], environ: Mapping[str, str], passed: tuple[int, ...]
    ) -> subprocess.Popen[bytes]:
        kept = passed if self._lifeline is None else (*passed, self._lifeline)
        # A supervisor that is killed takes its two services along; the scripts stay with their shims.
        return subprocess.Popen(
            [sys.executable, "-m", "kirby.cli.main", *command],
            env=environ,
            pass_fds=kept,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM),
        )

    def _look_after(self, part: Part) -> int:
        """Non-zero when there is no point in going on."""
        code = part.ended()
        if code is None:
            return 0
        if code in _FATAL:
            return code
        log.warning("supervisor.part_ended", part=part.name, code=code, again_in_s=part.wait_s)
        return 0

    def _end(self) -> None:
        """The worker first: it gives back what it holds while there is still somebody to tell."""
        deadline = time.monotonic() + _STOP_S
        for part in (self._worker, self._scheduler):
            if part.process is None:
                continue
            part.process.send_signal(signal.SIGTERM)
            try:
                part.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                part.process.kill()
                part.process.wait()


def supervise(name: str, *, window: float, wakeup: float, check: bool) -> int:
    """Returns the exit code."""
    try:
        settings: ServiceSettings = load(WorkerSettings)
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201 - The command's answer.
        return WRONG_SETTINGS
    if check:
        print("ok")  # noqa: T201
        return 0
    logs.configure(service="supervisor", log_format=settings.log_format, level=settings.kirby_log_level)
    return Supervisor(name, window=window, wakeup=wakeup, environ=os.environ).run()
