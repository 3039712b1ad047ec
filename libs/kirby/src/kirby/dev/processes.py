"""Starting and ending the processes of parts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kirby.dev.parts import Launch, Part, PartFailed

_EXEC = Path(__file__).with_name("exec_part.py")


def spawn(launch: Launch, *, log: Path) -> subprocess.Popen[bytes]:
    """Starts the process in a session of its own, its output appended to `log`.

    Call it from the main thread: the kernel's parent-death signal follows the thread that started the child.
    """
    orphan = launch.orphan_signal or signal.SIGKILL
    head = (sys.executable, "-I", "-S", str(_EXEC), str(os.getpid()), str(int(orphan)), launch.user or "-", "--")
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        process = subprocess.Popen(
            [*head, *launch.argv],
            env=dict(launch.env),
            cwd=launch.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(*launch.pass_fds, *launch.handed_fds),
        )
    for fd in launch.handed_fds:
        os.close(fd)
    return process


def signal_group(pid: int, signum: int) -> None:
    """Signals the session's process group; a group that is gone is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signum)


def end(process: subprocess.Popen[bytes], launch: Launch) -> bool:
    """Asks the process to stop, kills its group after the grace. True when it went by itself."""
    with suppress(ProcessLookupError):
        process.send_signal(launch.stop_signal)
    try:
        process.wait(launch.stop_grace_s)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()


def last_lines(log: Path, *, count: int = 5) -> str:
    """The end of a log, to say why something died."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


@dataclass
class Running:
    part: Part
    process: subprocess.Popen[bytes]
    launch: Launch
    log: Path

    def stop(self) -> None:
        if end(self.process, self.launch):
            self.part.finish()


def start_together(parts: Sequence[Part], *, logs: Path, timeout_s: float = 120) -> list[Running]:
    """Prepares the parts side by side, starts each as soon as it is prepared, returns when all are ready.

    Raises `PartFailed` with the end of the log of the part that failed, after ending the others.
    """
    running: list[Running] = []
    try:
        with ThreadPoolExecutor(max_workers=len(parts) or 1) as pool:
            prepared: dict[Future[None], Part] = {pool.submit(part.prepare): part for part in parts}
            while prepared:
                for future in [f for f in prepared if f.done()]:
                    part = prepared.pop(future)
                    future.result()
                    running.append(_start(part, logs))
                time.sleep(0.005)
        _await_ready(running, timeout_s=timeout_s)
    except BaseException:
        stop_all(running)
        raise
    return running


def stop_all(running: Sequence[Running]) -> None:
    for one in running:
        with suppress(ProcessLookupError):
            one.process.send_signal(one.launch.stop_signal)
    for one in running:
        one.stop()


def _start(part: Part, logs: Path) -> Running:
    launch = part.launch()
    log = logs / f"{part.name}.log"
    return Running(part, spawn(launch, log=log), launch, log)


def _await_ready(running: Sequence[Running], *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    waiting = list(running)
    while waiting:
        for one in list(waiting):
            if one.part.is_ready():
                waiting.remove(one)
            elif one.process.poll() is not None:
                raise PartFailed(f"{one.part.name} ended with {one.process.returncode}:\n{last_lines(one.log)}")
            elif time.monotonic() > deadline:
                raise PartFailed(f"{one.part.name} is not ready after {timeout_s:g} s:\n{last_lines(one.log)}")
        time.sleep(0.01)
