"""`kirby web`: both roles as child processes; a crashed one is started again, and none is left behind."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger()

_PARENT = "KIRBY_WEB_PARENT"
_PR_SET_PDEATHSIG = 1
_USAGE = 2
_TOO_OFTEN = 5
_WINDOW_S = 60.0
_GRACE_S = 15.0


def die_with_parent() -> None:
    """In a child of `kirby web`: asks the kernel for a TERM when the parent dies, however it dies."""
    parent = os.environ.pop(_PARENT, None)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        raise SystemExit(1)


@dataclass
class Child:
    """One role's process, and when it was started."""

    name: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)

    def start(self) -> None:
        now = time.monotonic()
        self.starts = [at for at in self.starts if now - at < _WINDOW_S] + [now]
        command = [sys.executable, "-m", "kirby_api", *self.arguments]
        self.process = subprocess.Popen(command, env={**os.environ, _PARENT: str(os.getpid())})

    def ended(self) -> int | None:
        return None if self.process is None else self.process.poll()

    @property
    def beyond_hope(self) -> bool:
        """Wrong settings, or too many ends in a minute."""
        return self.ended() == _USAGE or len(self.starts) >= _TOO_OFTEN

    def wait_before_restart(self) -> float:
        return min(0.1 * 2.0 ** (len(self.starts) - 1), 5.0)


def supervise_roles(*, host: str, port: int, ledger_port: int) -> int:
    """Runs both roles until a signal comes or one of them ends for good; returns the exit code."""
    children = [
        Child("web", ["--role", "web", "--host", host, "--port", str(port)]),
        Child("ledger", ["--role", "ledger", "--host", host, "--port", str(ledger_port)]),
    ]
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    os.environ.setdefault("KIRBY_LEDGER_URL", f"http://{_named(host)}:{ledger_port}")
    os.environ.setdefault("KIRBY_PUBLIC_URL", f"http://{_named(host)}:{port}")
    try:
        for child in children:
            child.start()
        return _watch(children, stop)
    finally:
        _stop_all(children)


def _named(host: str) -> str:
    """The host as it stands in a URL that this machine can reach."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 (compared, not bound)
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _watch(children: list[Child], stop: threading.Event) -> int:
    while not stop.wait(0.2):
        for child in children:
            code = child.ended()
            if code is None:
                continue
            if child.beyond_hope:
                log.error("web.role_ended", role=child.name, code=code)
                return code if code > 0 else 1
            log.warning("web.role_restarts", role=child.name, code=code)
            if stop.wait(child.wait_before_restart()):
                return 0
            child.start()
    return 0


def _stop_all(children: list[Child]) -> None:
    alive = [c.process for c in children if c.process is not None and c.process.poll() is None]
    for process in alive:
        process.terminate()
    deadline = time.monotonic() + _GRACE_S
    for process in alive:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
