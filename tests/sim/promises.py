"""What must hold, reckoned from what the witness saw and what the ledger wrote, by rules of their own."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from kirby_common.ledger.transitions import ENDED, Status

from tests.sim.host import Script
from tests.sim.ledger import MemoryLedger, PlayedContext, PlayedRun, Ref
from tests.sim.loop import Loop

S = Status
PATIENCE = 1.25
START_WITHIN = 2.0
EPSILON = 1e-6


class Broken(AssertionError):
    """A promise does not hold; the text says which."""


@dataclass
class Stretch:
    """From when to when (the database's time) a context was due every so many seconds."""

    context: PlayedContext
    every: float
    since: float
    until: float | None = None


@dataclass
class Promises:
    """Watches a simulation. `Broken` is raised at the first thing that must not be."""

    loop: Loop
    ledger: MemoryLedger
    witness: list[Script]
    stretches: list[Stretch] = field(default_factory=list)
    off_since: dict[UUID, float] = field(default_factory=dict)
    too_late: set[UUID] = field(default_factory=set)
    produced: set[tuple[UUID, int]] = field(default_factory=set)
    asked_for: set[tuple[UUID, str]] = field(default_factory=set)
    """What users have triggered: a context and the key of the request."""
    clock_stepped: bool = False
    _seen: int = 0
    _by_run: dict[UUID, list[Script]] = field(default_factory=dict)
    _beats: dict[Ref, float] = field(default_factory=dict)
    _asked: dict[Ref, float] = field(default_factory=dict)
    _changes: int = 0

    # While it goes on.

    def beaten(self, refs: list[Ref]) -> None:
        """Called when a beat has reached the ledger."""
        for ref in refs:
            self._beats[ref] = self.loop.now

    def launch_sent(self, refs: list[Ref]) -> None:
        """Called when a worker first sends LAUNCHING for these."""
        for ref in refs:
            self._asked[ref] = self.loop.now

    def on_leader_write(self, epoch: int) -> None:
        if epoch != self.ledger.epoch:
            raise Broken(f"a leader of epoch {epoch} writes in epoch {self.ledger.epoch}")

    def on_lost(self, run: PlayedRun, ref: Ref) -> None:
        silent = self.loop.now - self._beats.get(ref, 0.0)
        if silent < PATIENCE * self.ledger.lease - EPSILON:
            raise Broken(f"{run.id} is called lost {silent:.3f} s after its last beat")

    def on_move(self, run: PlayedRun, before: Status | None) -> None:
        self._changes += 1
        self.loop.note("ledger", run.id, before, run.status, f"grant={run.grant} attempt={run.attempt}", run.reason)
        if before is S.PENDING and run.status is S.CLAIMED:
            self._beats[run.id, run.grant] = self.loop.now
        if run.status is before or run.status not in ENDED or run.status is S.LOST:
            return
        started = self._by_run.get(run.id, ())
        if run.status in (S.MISSED, S.SKIPPED) and started:
            raise Broken(f"{run.id} was started and is {run.status}")
        if any(is_alive(script) for script in started):
            raise Broken(f"{run.id} is {run.status} while its process is alive")

    def after_each(self) -> None:
        while self._seen < len(self.witness):
            self._on_start(self.witness[self._seen])
            self._seen += 1

    def _on_start(self, script: Script) -> None:
        run = self.ledger.runs[script.run_id]
        earlier = self._by_run.setdefault(run.id, [])
        self._check_identity(run, script, earlier)
        self._check_predecessors(run, script, earlier)
        self._check_time(run, script, again=bool(earlier))
        self._check_overlap(run, script)
        earlier.append(script)

    def _check_identity(self, run: PlayedRun, script: Script, earlier: list[Script]) -> None:
        if any(e.ref == script.ref or e.attempt == script.attempt for e in earlier):
            raise Broken(f"{run.id} attempt {script.attempt} is started twice")
        told = self.ledger.attempts[script.ref].status
        if told != "LAUNCHING" and not (told == "LOST" and (not script.fenced or script.host.frozen_until)):
            raise Broken(f"{run.id} is started without LAUNCHING: its grant is {told}")

    def _check_predecessors(self, run: PlayedRun, script: Script, earlier: list[Script]) -> None:
        if any(is_alive(e) for e in earlier):
            raise Broken(f"{run.id} attempt {script.attempt} starts while an earlier one is alive")
        if run.policies.delivery == "at_least_once":
            return
        if len(earlier) >= run.policies.retry.attempts:
            raise Broken(f"{run.id} is at_most_once and starts for the {len(earlier) + 1}th time")
        unseen = [e.ref for e in earlier if self.ledger.attempts[e.ref].status != "FAILED"]
        if unseen:
            raise Broken(f"{run.id} is at_most_once and starts again after an end that nobody saw")

    def _check_time(self, run: PlayedRun, script: Script, *, again: bool) -> None:
        if not self.clock_stepped and self.loop.now < run.fire_at - EPSILON:
            raise Broken(f"{run.id} starts {run.fire_at - self.loop.now:.3f} s early")
        asked = self._asked.get(script.ref)
        if asked is not None and self.loop.now > asked + START_WITHIN + EPSILON:
            raise Broken(f"{run.id} starts {self.loop.now - asked:.3f} s after LAUNCHING was sent")
        off = self.off_since.get(run.context.id)
        if again or off is None or run.kind != "schedule" or run.id in self.too_late:
            return
        if run.fire_at > off:
            raise Broken(f"{run.id} is due after its context was paused, and starts")

    def _check_overlap(self, run: PlayedRun, script: Script) -> None:
        if run.policies.overlap == "allow" and not run.context.daemon:
            return
        for other in self.witness[: self._seen]:
            if other.ended_at is None and other.run_id != run.id and is_alive(other):
                their = self.ledger.runs[other.run_id]
                if their.context is run.context:
                    raise Broken(f"{run.id} overlaps {their.id}, which is {their.status}")

    # At the end.

    def at_end(self) -> None:
        for context in self.ledger.contexts.values():
            if not context.daemon:
                self._check_due_times(context)
        for run in self.ledger.runs.values():
            self._check_end(run)
        manual = sum(1 for run in self.ledger.runs.values() if run.kind == "manual")
        if manual != len(self.asked_for):
            raise Broken(f"{len(self.asked_for)} requests have become {manual} runs")
        lost = [(run.id, rev) for run in self.ledger.runs.values() for rev in range(1, run.rev + 1)]
        untold = [change for change in lost if change not in self.produced]
        if untold:
            raise Broken(f"{len(untold)} changes were never told, the first of {untold[0][0]}")

    def _check_end(self, run: PlayedRun) -> None:
        scripts = self._by_run.get(run.id, [])
        if run.status not in ENDED:
            raise Broken(f"{run.id} ({run.kind}) never ends: it is {run.status}")
        if any(s.ended_at is None for s in scripts):
            raise Broken(f"{run.id} is {run.status} and its process lives on")
        if run.status is S.LOST and run.unfenced:
            raise Broken(f"{run.id} is LOST and keeps its place, with its host back and nothing of it alive")
        if not scripts or scripts[-1].ref[1] != run.grant:
            return
        last = scripts[-1]
        at_most_once = run.policies.delivery == "at_most_once" and not run.context.daemon
        if at_most_once and last.killed_by in ("superseded", "fence"):
            raise Broken(f"{run.id} is at_most_once and was killed: {last.killed_by}")
        if at_most_once and last.killed_by is None and run.status not in (S.SUCCEEDED, S.FAILED, S.CANCELLED):
            raise Broken(f"{run.id} ended with {last.exit_code} by itself and is {run.status}")
        if at_most_once and last.killed_by is None and last.exit_code == 0 and run.status is S.FAILED:
            raise Broken(f"{run.id} ended with 0 and is FAILED")

    def _check_due_times(self, context: PlayedContext) -> None:
        rows = [r for r in self.ledger.runs.values() if r.context is context and r.kind in ("schedule", "range")]
        singles = Counter(round(r.due_at or 0.0, 3) for r in rows if r.kind == "schedule")
        ranges = [(r.due_at or 0.0, r.range_to or 0.0) for r in rows if r.kind == "range"]
        twice = [due for due, n in singles.items() if n > 1]
        if twice:
            raise Broken(f"the due time {twice[0]} of {context.id} has {singles[twice[0]]} rows")
        for due in sorted(self._due(context)):
            told = singles[due] + sum(1 for first, last in ranges if first - EPSILON <= due <= last + EPSILON)
            if told == 0:
                raise Broken(f"the due time {due} of {context.id} has no row")
            if told > 1:
                raise Broken(f"the due time {due} of {context.id} has {told} rows")

    def _due(self, context: PlayedContext) -> set[float]:
        """By arithmetic of its own: the multiples of the interval in each stretch."""
        found: set[float] = set()
        for s in self.stretches:
            if s.context is context and s.until is not None:
                first = int(s.since // s.every) + 1
                found |= {round(n * s.every, 3) for n in range(first, int(s.until // s.every) + 1)}
        return found


def is_alive(script: Script) -> bool:
    """A process that is frozen along with its host does nothing: the one overlap that is stated."""
    if script.ended_at is not None:
        return False
    return not (script.fenced and script.host.frozen_until > script.started_at)


def describe(trace: list[tuple[Any, ...]], *, last: int = 120) -> str:
    return "\n".join(f"{moment:9.3f}  " + " ".join(str(w) for w in what) for moment, *what in trace[-last:])
