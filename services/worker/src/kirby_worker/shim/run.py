"""One run, from the waiting child to the last frame of its output.

Messages are JSON lines with a kind `t`. From the worker: `go` (at, until: boot-clock seconds; attempt), `abort`
(only what has not started), `beat` (at: the last acknowledged beat), `stop` (why, grace_s), `secret` (an answer for
the script), `seen` (has read the spool). To the worker: `ready`, `state` (on every new connection), `not_launched`,
`started`, `log` (there is more in the spool), `secret` (a question), `ended`.
The journal has what must survive this process: prepared, go, not_launched, started, ended.
"""

import os
import selectors
import signal
from collections.abc import Callable
from typing import Any

from kirby_worker.shim import child, failpoints, processes
from kirby_worker.shim.endings import Ending
from kirby_worker.shim.leasing import Lease
from kirby_worker.shim.output import Output
from kirby_worker.shim.script import Script
from kirby_worker.shim.spool import Journal
from kirby_worker.shim.uplink import Uplink
from kirby_worker.shim.wire import Lines

WAITING, RUNNING, SWEEPING, DONE = "waiting", "running", "sweeping", "done"
_SWEEP_S = 0.005
_RETRY_S = 0.2


class Run:
    """The state of one run, and what each event does to it."""

    def __init__(
        self, task: dict[str, Any], *, waiting: child.Waiting | None, worker: Lines, lifeline: int | None
    ) -> None:
        self._task = task
        self._phase = WAITING
        self._lifeline = lifeline
        self._suite_gone = False
        self._selector = selectors.DefaultSelector()
        self._go: dict[str, Any] | None = None
        self._started_at: float | None = None
        self._stopping: str | None = None
        self._terminated = False
        self._sweep_at: float | None = None
        self._lease = Lease(lease_s=float(task["lease_s"]), fenced=bool(task["fenced"]), now=processes.boot_clock())
        self._ending = Ending(timeout_s=task.get("timeout_s"), grace_s=float(task["grace_s"]))
        os.chdir(task["folder"])
        self._journal = Journal()
        self._output = Output(limit=int(task["spool_limit"]))
        self._script = Script(
            task,
            waiting=waiting,
            selector=self._selector,
            output=self._output,
            on_executed=lambda _: self._on_executed(),
            on_question=self._on_question,
        )
        self._questions: list[dict[str, Any]] = []
        self._worker = Uplink(
            self._selector,
            first=worker,
            on_message=self._on_message,
            on_connected=self._on_connected,
            on_lost=self._on_worker_lost,
        )

    def run(self) -> None:
        """Serves the run until everything of it is over, reported or at least journalled."""
        self._watch_all()
        shim = os.getpid()
        identity: dict[str, Any] = {
            "shim": shim,
            "shim_start": processes.start_time(shim),
            "boot_id": processes.boot_id(),
        }
        self._record({"t": "prepared"} | identity)
        self._reap()
        self._worker.tell({"t": "ready", "pid": self._script.pid, "armed": self._script.armed})
        self._hit("ready")
        self._worker.receive()
        while self._phase != DONE:
            for key, _ in self._selector.select(self._patience()):
                key.data()
                if self._phase == DONE:
                    return
            self._on_clock(processes.boot_clock())
            self._worker.push()
            if self._worker.connected and self._output.wake():
                self._worker.tell({"t": "log"})

    # What is waited for.

    def _watch_all(self) -> None:
        wake_r, wake_w = os.pipe()
        os.set_blocking(wake_r, False)
        os.set_blocking(wake_w, False)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, self._on_termination)
        self._watch(wake_r, lambda: self._on_signal(wake_r))
        self._script.watch()
        if self._lifeline is not None:
            self._watch(self._lifeline, self._on_lifeline)

    def _watch(self, fd: int, handle: Callable[[], None]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, handle)

    def _patience(self) -> float | None:
        go_at = self._go["at"] if self._go and self._phase == WAITING else None
        moments = [go_at, self._sweep_at, self._output.next_moment]
        if self._phase == RUNNING:
            moments += [self._ending.next_moment, self._lease.next_moment]
        if self._worker.congested:
            moments.append(processes.boot_clock() + 0.01)
        known = [m for m in moments if m is not None]
        return max(0.0, min(known) - processes.boot_clock()) if known else None

    # What comes in.

    def _on_termination(self, *_: object) -> None:
        self._terminated = True

    def _on_signal(self, wake: int) -> None:
        os.read(wake, 4096)
        self._reap()
        if self._terminated and self._phase in (WAITING, RUNNING):
            self._terminated = False
            self._stop("drained", self._ending.grace_s)

    def _on_connected(self) -> None:
        self._output.forget_wake()
        self._worker.tell({"t": "state", "keep": self._task["keep"], "phase": self._phase} | self._facts())
        for question in self._questions:
            self._worker.tell(question)

    def _facts(self) -> dict[str, Any]:
        attempt = self._go["attempt"] if self._go else None
        return {"attempt": attempt, "pid": self._script.pid, "started_at": self._started_at}

    def _on_worker_lost(self) -> None:
        """What has not got its `go` is given up; the rest goes on without a worker."""
        if self._phase == WAITING and self._go is None:
            self._give_up("the worker went away before the start")

    def _on_message(self, message: dict[str, Any]) -> None:
        match message["t"]:
            case "go":
                self._go = message
                self._hit("go")
            case "abort" if self._phase == WAITING:
                self._give_up("aborted")
            case "beat":
                self._lease.renew(message["at"])
            case "stop":
                self._stop(message["why"], message["grace_s"])
            case "secret":
                self._answer(message["answer"])
            case "seen":
                self._output.seen()

    def _on_lifeline(self) -> None:
        """The suite is gone: everything below ends at once."""
        assert self._lifeline is not None
        self._selector.unregister(self._lifeline)
        self._lifeline = None
        self._suite_gone = True
        self._stop("drained", 0.0)

    def _on_question(self) -> None:
        for question in self._script.secrets.receive():
            asked = {"t": "secret", "ask": question}
            self._questions.append(asked)
            self._worker.tell(asked)
        if self._script.secrets.closed:
            self._script.forget_secrets()

    def _answer(self, answer: dict[str, Any]) -> None:
        self._questions = [q for q in self._questions if q["ask"].get("id") != answer.get("id")]
        self._script.secrets.send(answer)

    # What the clock does.

    def _on_clock(self, now: float) -> None:
        if self._phase == WAITING and self._go is not None and now >= self._go["at"]:
            self._start(now)
        if self._phase == RUNNING:
            if self._lease.must_end(now):
                self._stop("fence", self._lease.grace_s)
            if self._ending.timed_out(now):
                self._stop("timeout", self._ending.grace_s)
            if self._ending.must_kill(now):
                self._kill_all(now)
        if self._phase == SWEEPING and self._sweep_at is not None and now >= self._sweep_at:
            self._sweep(now)
        if self._phase != DONE:
            self._output.on_clock(now)

    def _start(self, now: float) -> None:
        assert self._go is not None
        if now > self._go["until"] or not self._lease.may_start(now):
            return self._give_up("too late to start")
        try:
            self._journal.write({"t": "go", "attempt": self._go["attempt"], "at": now}, durable=True)
            self._hit("before_start")
        except OSError as error:
            return self._give_up(f"the start could not be written down: {error}")
        if processes.boot_clock() > self._go["until"]:
            return self._give_up("too late to start: writing it down took too long")
        try:
            self._script.start(self._go["attempt"])
        except OSError as error:
            return self._give_up(f"what waited is gone: {error}")
        self._phase = RUNNING
        self._started_at = processes.boot_clock()
        if self._script.executed() is not None:
            self._on_executed()

    def _on_executed(self) -> None:
        """The script's Python is there: before the start if it is armed, through the start if not."""
        if self._phase == WAITING:
            return
        if problem := self._script.executed():
            self._output.system(f"could not be started: {problem}")
        if self._phase == RUNNING:
            self._ending.begin(processes.boot_clock())
        pid = self._script.pid
        self._record({"t": "started", "session": pid, "start": processes.start_time(pid)} | self._facts())
        self._hit("started")

    # How it ends.

    def _give_up(self, reason: str) -> None:
        """Kills and reaps the waiting child, and only then says that nothing was started."""
        if self._phase != WAITING:
            return
        if not child.end(self._script.pid):
            reason += " (the waiting process had ended by itself)"
        self._record({"t": "not_launched", "reason": reason})
        self._finish()

    def _stop(self, why: str, grace_s: float) -> None:
        """TERM to the script's group, KILL to the whole tree when the grace is over."""
        if self._phase == WAITING:
            self._give_up(why)
        elif self._phase == RUNNING and self._ending.stop(processes.boot_clock(), grace_s=grace_s):
            self._stopping = why
            self._output.system(f"stopped by Kirby ({why})")
            if not processes.send_group_signal(self._script.pid, signal.SIGTERM):
                processes.send_signal(self._script.pid, signal.SIGTERM)

    def _kill_all(self, now: float) -> None:
        self._ending.killed(now)
        for pid in processes.descendants(os.getpid()):
            processes.send_signal(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._phase != DONE:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._script.pid and self._phase == WAITING:
                self._on_waiting_ended()
            elif pid == self._script.pid:
                now = processes.boot_clock()
                self._ending.exited(now, status=status)
                self._phase, self._sweep_at = SWEEPING, now

    def _on_waiting_ended(self) -> None:
        """An interpreter that can't wait shows at a plain start why; a plain child does not end by itself."""
        if self._script.armed:
            self._script.replace()
        else:
            self._give_up("the waiting process was killed")

    def _sweep(self, now: float) -> None:
        """After the script's own end: kills what is left of its tree, then reads the pipes empty."""
        self._kill_all(now)
        self._reap()
        if processes.descendants(os.getpid()):
            self._sweep_at = now + _SWEEP_S
        elif (self._output.drained(now) and self._end()) or (self._output.blocked and self._suite_gone):
            self._finish()
        else:
            self._sweep_at = now + (_RETRY_S if self._output.blocked else _SWEEP_S)

    def _end(self) -> bool:
        """Completes the output and the journal; False when the disk has no room for it yet."""
        if not self._output.end():
            return False
        self._hit("ended")
        fact: dict[str, Any] = {"t": "ended", "killed_by": self._stopping, "log": self._output.summary()}
        fact |= self._ending.facts() | self._facts()
        try:
            self._journal.write(fact, durable=True)
        except OSError:
            return False
        self._worker.tell(fact)
        return True

    def _finish(self) -> None:
        self._phase = DONE
        self._worker.finish()

    def _hit(self, place: str) -> None:
        failpoints.hit(f"shim.{place}", grant=int(self._task["keep"].get("grant", 1)))

    def _record(self, fact: dict[str, Any]) -> None:
        """Journals and tells; a full disk does not stop the telling."""
        try:
            self._journal.write(fact)
        except OSError as error:
            self._output.system(f"the journal can't be written: {error}")
        self._worker.tell(fact)
