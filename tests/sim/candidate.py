"""A scheduler candidate: the election and a leader's loops, each step a call to the ledger."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from kirby_common.ledger.ids import daemon_key
from kirby_common.ledger.ids import run_id as make_id
from kirby_common.ledger.runs import NewRun
from kirby_common.ledger.transitions import STARTED, Status
from kirby_scheduler.domain.slots import Facts, Slot, Step, Wanted, next_step
from kirby_scheduler.domain.watch import Watch
from kirby_scheduler.term import Deposed

from tests.sim.ledger import MemoryLedger, PlayedContext, Ref, instant
from tests.sim.loop import Actor, Loop, Network, Unanswered

LOOK_AHEAD = 5.0
LEASES_PER_LOOK = 0.15
"""The reaper looks less often than the real one, which costs less and shows the same."""
WINDOW = 2.0


class Hints:
    """What Redis does: says who should try to lead; may be away, or forget."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._holder: str | None = None
        self._until = 0.0
        self.away_until = 0.0

    def ask(self, name: str) -> bool | None:
        now = self._loop.now
        if now < self.away_until:
            return None
        if self._holder is None or now >= self._until or self._holder == name:
            self._holder, self._until = name, now + WINDOW
            return True
        return False

    def forget(self) -> None:
        self._holder = None


class Candidate(Actor):
    def __init__(self, loop: Loop, name: str, *, ledger: MemoryLedger, hints: Hints, network: Network) -> None:
        super().__init__(loop, name)
        self._ledger = ledger
        self._hints = hints
        self._network = network
        self._epoch: int | None = None
        self._watch: Watch[Ref] = Watch(ledger.lease)
        self._good_until = 0.0
        self.after(loop.random.random(), self._try)

    def start(self) -> None:
        """A new process of this name."""
        self.alive, self._epoch = True, None
        self.after(0.5, self._try)

    def _call(self, serve: Any, *arguments: Any, then: Any) -> None:
        self._network.call(self, serve, *arguments, then=then, timeout=3.0, errors=(Deposed,))

    # The election.

    def _try(self) -> None:
        hinted = self._hints.ask(self.name)
        if hinted is False:
            self.after(1.0, self._try)
        else:
            self._call(self._ledger.take_lead, self.name, bool(hinted), WINDOW, then=self._on_taken)

    def _on_taken(self, epoch: Any) -> None:
        if not isinstance(epoch, int):
            self.after(1.0, self._try)
            return
        self._epoch = epoch
        self._good_until = self.loop.now + WINDOW
        self._watch = Watch(self._ledger.lease)
        self.loop.note(self.name, "leads", epoch)
        for step in (self._tick, self._look, self._sweep, self._arbitrate):
            self._in_term(epoch, 0.0, step)
        self._in_term(epoch, WINDOW / 3, self._renew)

    def _in_term(self, epoch: int, delay: float, step: Any, *arguments: Any) -> None:
        def go() -> None:
            if self._epoch == epoch:
                step(epoch, *arguments)

        self.after(delay, go)

    def _term_over(self, epoch: int) -> None:
        if self._epoch == epoch:
            self.loop.note(self.name, "deposed", epoch)
            self._epoch = None
            self.after(1.0, self._try)

    def _again(self, epoch: int, answer: Any, delay: float, step: Any) -> bool:
        """Plans the step anew; False when the term is over, or the call got no answer."""
        if isinstance(answer, Deposed):
            self._term_over(epoch)
            return False
        self._in_term(epoch, delay, step)
        return answer is not Unanswered

    def _renew(self, epoch: int) -> None:
        if self._hints.ask(self.name) is False:
            self._term_over(epoch)
            return
        asked = self.loop.now

        def renewed(answer: Any) -> None:
            if self._epoch != epoch:
                return
            if answer is True:
                self._good_until = asked + WINDOW
            elif answer is False or self.loop.now >= self._good_until:
                self._term_over(epoch)
                return
            self._in_term(epoch, WINDOW / 3, self._renew)

        self._call(self._ledger.renew_lead, self.name, epoch, WINDOW, then=renewed)

    # The loops of a leader.

    def _tick(self, epoch: int) -> None:
        self._call(self._ledger.tick, epoch, LOOK_AHEAD, then=lambda a: self._again(epoch, a, 1.0, self._tick))

    def _sweep(self, epoch: int) -> None:
        self._call(self._ledger.sweep, epoch, then=lambda a: self._again(epoch, a, 1.0, self._sweep))

    def _look(self, epoch: int) -> None:
        def seen(beats: Any) -> None:
            if self._epoch != epoch:
                return
            if isinstance(beats, dict):
                self._watch, lost = self._watch.look(beats, now=self._boot())
                for ref in lost:
                    self._call(
                        self._ledger.settle, epoch, ref, beats[ref],
                        then=lambda a: self._term_over(epoch) if isinstance(a, Deposed) else None,
                    )  # fmt: skip
            self._in_term(epoch, self._ledger.lease * LEASES_PER_LOOK, self._look)

        self._call(self._ledger.beats, then=seen)

    def _boot(self) -> float:
        """The boot-time clock: no step of the wall clock shows in it."""
        return self.loop.now

    def _arbitrate(self, epoch: int) -> None:
        self._call(arbitrate, self._ledger, epoch, then=lambda a: self._again(epoch, a, 1.0, self._arbitrate))


def arbitrate(ledger: MemoryLedger, epoch: int) -> None:
    """One pass over all daemons, as the arbiter makes it."""
    ledger._lead(epoch)
    now = instant(ledger.clock())
    for context in ledger.contexts.values():
        if context.daemon:
            slot: Slot = context.slot.get("slot", Slot(slot=0))
            run = None if slot.run_id is None else ledger.runs[slot.run_id]
            facts = Facts(status=None if run is None else run.status)
            step = next_step(slot, facts, Wanted(up=context.enabled, script_id=None), now=now)
            if step is not None:
                context.slot["slot"] = _take(ledger, context, step)


def _take(ledger: MemoryLedger, context: PlayedContext, step: Step) -> Slot:
    for run_id, why in step.drain.items():
        _drain(ledger, run_id, why)
    if not step.start:
        return step.slot
    generation = step.slot.generation + 1
    key = daemon_key(0, generation)
    run_id = make_id(context.id, "daemon", key)
    view: Any = context
    ledger._insert(NewRun(id=run_id, kind="daemon", key=key, context=view, fire_at=instant(ledger.clock())))
    return replace(step.slot, generation=generation, run_id=run_id)


def _drain(ledger: MemoryLedger, run_id: UUID, why: str) -> None:
    run = ledger.runs[run_id]
    if run.status in STARTED and run.kill_why is None:
        ledger._amend(run, kill_why=why)
    elif run.status in (Status.PENDING, Status.CLAIMED):
        if run.status is Status.CLAIMED:
            ledger._close(run, "REVOKED")
        ledger._move(run, Status.CANCELLED, ended_at=ledger.clock(), **ledger._nobody())
