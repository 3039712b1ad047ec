"""The script's process: forked early, it waits at a pipe and becomes the script when told to.

Plain, it waits as it was forked, and executes the script's Python at the start. Armed, it executes that Python at
once, which waits in its place (see `armed`).
"""

import os
import signal
import socket
from dataclasses import dataclass
from typing import Any

from kirby_worker.shim import armed
from kirby_worker.shim.processes import die_with_parent, send_signal

_PIPE_BYTES = 1024 * 1024
_F_SETPIPE_SZ = 1031


@dataclass(frozen=True)
class Waiting:
    """A forked child and the shim's ends of its pipes."""

    pid: int
    start: int
    stdout: int
    stderr: int
    failure: int
    secrets: socket.socket
    secrets_fd: int
    armed: bool

    def close(self) -> None:
        """What nobody has read to its end."""
        os.close(self.start)
        self.secrets.close()


def fork(manner: dict[str, Any]) -> Waiting:
    """Forks the child that waits; must be called from the main thread, whose death kills the child.

    `manner` is a task, or of one its nice, run_as, umask, and `load`: the argv and env to bring an interpreter up with.
    """
    start_r, start_w = os.pipe()
    out_r, out_w = _log_pipe()
    err_r, err_w = _log_pipe()
    failure_r, failure_w = os.pipe()
    ours, theirs = socket.socketpair()
    secrets_fd = theirs.fileno()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _become(manner, parent, (out_w, err_w))
            _wait_and_exec(manner.get("load"), start_r, secrets_fd)
        except BaseException as error:
            os.write(failure_w, f"{error}".encode(errors="replace")[:2000])
        finally:
            os._exit(127)
    for fd in (start_r, out_w, err_w, failure_w):
        os.close(fd)
    theirs.close()
    for fd in (out_r, err_r, failure_r):
        os.set_blocking(fd, False)
    ours.setblocking(False)
    return Waiting(pid, start_w, out_r, err_r, failure_r, ours, secrets_fd, bool(manner.get("load")))


def end(pid: int) -> bool:
    """Kills and reaps the child; False when it had ended by itself."""
    try:
        ended, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return False  # It is reaped already: its number may be another's by now.
    if ended:
        return False
    send_signal(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def _log_pipe() -> tuple[int, int]:
    import fcntl

    ends = os.pipe()
    try:
        fcntl.fcntl(ends[1], _F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        return ends  # The user's pipe quota is used up: the default size does.
    return ends


def _become(manner: dict[str, Any], parent: int, outputs: tuple[int, int]) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for signum in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(signum, signal.SIG_DFL)
    stdin = os.open("/dev/null", os.O_RDONLY)
    os.dup2(stdin, 0)
    os.dup2(outputs[0], 1)
    os.dup2(outputs[1], 2)
    os.umask(int(manner["umask"]))
    _lower_priority(int(manner["nice"]))
    if "folder" in manner:
        os.chdir(os.path.join(manner["folder"], "work"))
    if manner.get("run_as"):
        _change_user(manner["run_as"])
    die_with_parent()
    if os.getppid() != parent:
        os._exit(0)


def _wait_and_exec(load: dict[str, Any] | None, start_fd: int, secrets_fd: int) -> None:
    os.set_inheritable(secrets_fd, True)
    if load is not None:
        _exec_armed(load, start_fd)
    start = armed.read(start_fd)
    if start is None:
        os._exit(0)
    os.execve(start["argv"][0], start["argv"], start["env"])  # noqa: S606


def _exec_armed(load: dict[str, Any], start_fd: int) -> None:
    """Comes back when that can't be done: the start will say why."""
    os.set_inheritable(start_fd, True)
    try:
        os.execve(load["argv"][0], armed.command(load["argv"], start_fd=start_fd), load["env"])  # noqa: S606
    except OSError:
        os.set_inheritable(start_fd, False)


def _lower_priority(nice: int) -> None:
    """Scripts yield to the services; a session has a priority of its own where the kernel groups by session."""
    if nice <= 0:
        return
    os.nice(nice)
    try:
        with open("/proc/self/autogroup", "w") as file:
            file.write(str(nice))
    except OSError:
        return  # No such kernel feature: the plain nice value does it.


def _change_user(user: dict[str, Any]) -> None:
    if os.getuid() == user["uid"]:
        return
    os.setgroups(user["groups"])
    os.setgid(user["gid"])
    os.setuid(user["uid"])
