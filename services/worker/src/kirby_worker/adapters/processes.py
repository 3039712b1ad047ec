"""Processes that are not where they should be: what falls to the worker, and what dead shims have left."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import structlog

from kirby_worker.domain.attempt import Ref
from kirby_worker.shim import processes

log = structlog.get_logger()


def is_of_this_boot(facts: dict[str, dict[str, Any]]) -> bool:
    """Whether the journal was written since the machine was started."""
    return "prepared" in facts and bool(facts["prepared"]["boot_id"] == processes.boot_id())


def is_alive(facts: dict[str, dict[str, Any]]) -> bool:
    """Whether the shim that wrote the journal still runs."""
    if not is_of_this_boot(facts):
        return False
    prepared = facts["prepared"]
    return bool(processes.start_time(int(prepared["shim"])) == prepared["shim_start"])


def kill_leftovers(ref: Ref, facts: dict[str, dict[str, Any]]) -> int:
    """Kills what a dead shim's attempt has left running; returns how many processes."""
    if not is_of_this_boot(facts):
        return 0
    started = facts.get("started")
    session = None if started is None else int(started["session"])
    if session is not None and processes.start_time(session) not in (None, started and started["start"]):
        session = None  # The number has another owner by now.
    killed = 0
    for pid in _all_pids():
        if pid != os.getpid() and (_belongs(pid, ref) or (session is not None and _session(pid) == session)):
            killed += processes.send_signal(pid, signal.SIGKILL)
    if killed:
        log.warning("leftovers.killed", run=str(ref), processes=killed)
    return killed


class Strangers:
    """Orphans of scripts fall to the worker when their shim dies: they are killed, with all below them."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int | None]] = set()

    def sweep(self, *, own: Iterable[int]) -> int:
        """Kills the worker's children that it did not start; returns how many processes."""
        known = set(own)
        seen = set()
        killed = 0
        for pid in _own_children():
            identity = (pid, processes.start_time(pid))
            if pid in known:
                continue
            if identity[1] is None:
                _reap(pid)
            elif _variable(pid, "KIRBY_RUN_ID") or identity in self._seen:
                killed += self._kill(pid)
            else:
                # It may be a child of ours whose start is under way: the next sweep knows.
                seen.add(identity)
        self._seen = seen
        return killed

    def _kill(self, pid: int) -> int:
        tree = [pid, *processes.descendants(pid)]
        log.warning("stranger.killed", pid=pid, processes=len(tree))
        return sum(processes.send_signal(p, signal.SIGKILL) for p in tree)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        log.debug("stranger.reaped_elsewhere", pid=pid)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _own_children() -> list[int]:
    """Also those that have fallen to this process. To look at every process there is takes a hundred times as long."""
    try:
        lists = [file.read_text() for file in Path("/proc/self/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return []  # A thread has just ended: its children are another's by the next sweep.
    if not lists:
        return [pid for pid in _all_pids() if _field(pid, 1) == os.getpid()]  # A kernel without these lists.
    return [int(pid) for text in lists for pid in text.split()]


def _session(pid: int) -> int | None:
    return _field(pid, 3)


def _field(pid: int, index: int) -> int | None:
    fields = processes.stat(str(pid))
    return None if fields is None else int(fields[index])


def _belongs(pid: int, ref: Ref) -> bool:
    return _variable(pid, "KIRBY_RUN_ID") == str(ref.run_id) and _variable(pid, "KIRBY_GRANT") == str(ref.grant)


def _variable(pid: int, name: str) -> str | None:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    wanted = name.encode() + b"="
    return next((v[len(wanted) :].decode() for v in environment.split(b"\0") if v.startswith(wanted)), None)
