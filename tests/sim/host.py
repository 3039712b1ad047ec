"""A host: its disk, its shims with their scripts, and the worker that comes and goes. The witness sees the scripts."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from kirby_worker.domain import attempt as life
from kirby_worker.domain.attempt import Attempt, Phase
from kirby_worker.domain.attempt import Ref as WorkerRef
from kirby_worker.shim.leasing import Lease

from tests.sim.ledger import Ref
from tests.sim.loop import Actor, Loop

DESCRIPTOR = 0.001


@dataclass
class Script:
    """A process of the user's: what the witness tells of."""

    ref: Ref
    attempt: int
    host: "Host"
    started_at: float
    fenced: bool
    ended_at: float | None = None
    exit_code: int | None = None
    killed_by: str | None = None

    @property
    def run_id(self) -> UUID:
        return self.ref[0]


@dataclass(frozen=True)
class ScriptPlan:
    """How long the script would run, and what it would exit with."""

    seconds: float
    exit_code: int


class Host(Actor):
    """One machine. `disk` has the journal of each run folder; it outlives everything but a wiped home."""

    def __init__(self, loop: Loop, name: str, *, lease: float, witness: list[Script], plan: Any) -> None:
        super().__init__(loop, name)
        self.lease = lease
        self.boot = 1
        self.home = abs(hash(name)) % 10_000
        self.cut_until = 0.0
        self.frozen_until = 0.0
        self.disk: dict[Ref, dict[str, dict[str, Any]]] = {}
        self.shims: dict[Ref, Shim] = {}
        self.witness = witness
        self.plan = plan
        self.worker: Any = None

    @property
    def cut(self) -> bool:
        return self.loop.now < self.cut_until

    def freeze(self, seconds: float) -> None:
        """Everything on it stands still, as a paused virtual machine does."""
        self.frozen_until = max(self.frozen_until, self.loop.now + seconds)
        for actor in (self, self.worker, *self.shims.values()):
            if actor is not None:
                actor.pause(seconds)

    def crash(self) -> None:
        """Power is lost: nothing of it lives on, and what was not synced may be missing."""
        for shim in list(self.shims.values()):
            shim.kill(tell=False)
        self.shims.clear()
        for facts in self.disk.values():
            if self.loop.random.random() < 0.5:
                facts.pop("started", None)
        self.boot += 1


class Shim(Actor):
    """Serves one attempt; lives on when the worker dies."""

    def __init__(self, host: Host, ref: Ref, *, fenced: bool, timeout: float | None, grace: float) -> None:
        super().__init__(host.loop, f"shim {ref[0].hex[:4]}.{ref[1]}")
        self._host = host
        self.ref = ref
        self.phase = "waiting"
        self.go: life.Go | None = None
        self.script: Script | None = None
        self.fenced = fenced
        self.grace = grace
        self._timeout = timeout
        self._kill_at: float | None = None
        self._killed_by: str | None = None
        self.lease = Lease(lease_s=host.lease, fenced=fenced, now=host.loop.now)
        self.facts = host.disk.setdefault(ref, {})
        self.facts["prepared"] = {"boot": host.boot}
        host.shims[ref] = self
        self.pause(max(0.0, host.frozen_until - host.loop.now))
        if fenced:
            self._watch_lease()

    # From the worker.

    def on_go(self, go: life.Go) -> None:
        if self.phase != "waiting":
            return
        self.go = go
        self.after(max(0.0, go.at - self.loop.now), self._start)

    def on_abort(self) -> None:
        if self.phase == "waiting":
            self._give_up("aborted")

    def on_beat(self, at: float) -> None:
        self.lease.renew(at)

    def on_stop(self, why: str, grace: float) -> None:
        if self.phase == "waiting":
            self._give_up(why)
        elif self.phase == "running":
            self._stop(why, grace)

    def on_worker_lost(self) -> None:
        if self.phase == "waiting" and self.go is None:
            self._give_up("the worker went away before the start")

    # Its own doing.

    def _start(self) -> None:
        if self.phase != "waiting" or self.go is None:
            return
        if not self._may_start():
            self._give_up("too late to start")
            return
        self.facts["go"] = {"attempt": self.go.number}
        self.after(self.loop.random.random() * 0.01, self._started)

    def _may_start(self) -> bool:
        return not self._is_late() and self.lease.may_start(self.loop.now)

    def _is_late(self) -> bool:
        return self.go is not None and self.loop.now > self.go.until

    def _started(self) -> None:
        if self.phase != "waiting" or self.go is None:
            return
        if self._is_late():
            self._give_up("writing it down took too long")
            return
        self.phase = "running"
        self._run_script(self.go.number)

    def _run_script(self, number: int) -> None:
        now = self.loop.now
        self.script = Script(self.ref, number, self._host, now, self.fenced)
        self._host.witness.append(self.script)
        self.loop.note(self.name, "starts", self.ref[0], "attempt", number)
        fact = {"t": "started", "attempt": number, "started_at": now}
        self.facts["started"] = fact
        self._tell(fact)
        plan = self._host.plan(self.ref)
        self.after(plan.seconds, self._exit, plan.exit_code, None)
        if self._timeout is not None:
            self.after(self._timeout, self._stop, "timeout", self.grace)

    def _watch_lease(self) -> None:
        moment = self.lease.next_moment
        if moment is None or self.phase == "done":
            return
        if self.phase == "running" and self.lease.must_end(self.loop.now):
            self._stop("fence", self.lease.grace_s)
            return
        self.after(max(moment - self.loop.now, 0.05), self._watch_lease)

    def _stop(self, why: str, grace: float) -> None:
        """TERM, which the script may or may not heed; KILL after the grace."""
        if self.phase != "running":
            return
        kill_at = self.loop.now + grace
        if self._kill_at is not None and kill_at >= self._kill_at:
            return
        first, self._kill_at = self._kill_at is None, kill_at
        if first:
            self._killed_by = why
            if self.loop.random.random() < 0.5:
                self.after(min(grace, 0.05), self._exit, 0, None)
        self.after(grace, self._exit, None, 9)

    def _exit(self, code: int | None, signal: int | None) -> None:
        if self.phase != "running":
            return
        assert self.script is not None
        self.phase = "done"
        self.script.ended_at = self.loop.now
        self.script.exit_code, self.script.killed_by = code, self._killed_by
        fact = {
            "t": "ended", "exit_code": code, "signal": signal, "killed_by": self._killed_by,
            "attempt": self.script.attempt, "started_at": self.script.started_at,
        }  # fmt: skip
        self.facts["ended"] = fact
        self._tell(fact)
        self._finish()

    def _give_up(self, reason: str) -> None:
        self.phase = "done"
        fact = {"t": "not_launched", "reason": reason}
        self.facts["not_launched"] = fact
        self._tell(fact)
        self._finish()

    def _finish(self) -> None:
        self._host.shims.pop(self.ref, None)
        self._say("on_shim_gone", self.ref)
        self.die()

    def kill(self, *, tell: bool = True) -> None:
        """The shim dies, and its script with it by the parent-death signal."""
        if self.script is not None and self.script.ended_at is None:
            self.script.ended_at, self.script.killed_by = self.loop.now, "shim death"
        self.phase = "done"
        self._host.shims.pop(self.ref, None)
        if tell:
            self._say("on_shim_gone", self.ref)
        self.die()

    def _tell(self, fact: dict[str, Any]) -> None:
        self._say("on_fact", self.ref, fact)

    def _say(self, what: str, *arguments: Any) -> None:
        worker = self._host.worker
        if worker is not None and worker.alive:
            worker.after(DESCRIPTOR, getattr(worker, what), *arguments)


def attempt_of(ref: Ref, *, due: float, fenced: bool, daemon: bool, grace: float) -> Attempt:
    return life.claimed(WorkerRef(*ref), due=due, fenced=fenced, daemon=daemon, grace_s=grace)


def adopted(ref: Ref, phase: Phase, shim: Shim | None) -> Attempt:
    number = shim.go.number if shim is not None and shim.go is not None else None
    fenced = shim.fenced if shim is not None else False
    return Attempt(WorkerRef(*ref), due=0.0, phase=phase, number=number, fenced=fenced)


@dataclass
class Held:
    attempt: Attempt
    shim: Shim | None = None
    facts: dict[str, Any] = field(default_factory=dict)
