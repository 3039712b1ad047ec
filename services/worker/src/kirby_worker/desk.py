"""All attempts on this worker: feeds what happens to each into its decisions, and carries out what they decide."""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from kirby_common.clock import Clock
from kirby_common.worker_protocol import BeatAnswer, BeatAttempt, Order, RunGrant, RunRef

from kirby_worker.adapters.home import Home
from kirby_worker.domain import attempt as life
from kirby_worker.domain.attempt import Attempt, Effect, Event, Phase, Ref, Settled
from kirby_worker.ports import Shim
from kirby_worker.preparing import Kept
from kirby_worker.reporting import Fact
from kirby_worker.shim.leasing import NO_START
from kirby_worker.shipping import Shipper

log = structlog.get_logger()


@dataclass
class Held:
    """One attempt, with what belongs to it."""

    attempt: Attempt
    kept: Kept | None = None
    shim: Shim | None = None
    shipper: Shipper | None = None
    armed: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Signs:
    """What the next beat says."""

    attempts: tuple[BeatAttempt, ...] = ()
    spools: tuple[RunRef, ...] = ()


class Desk:
    """Lives in the event loop; everything here happens at once, nothing waits.

    `care` is called for each fresh grant, and looks after it in a task of its own (see `caring`).
    """

    def __init__(
        self,
        *,
        home: Home,
        clock: Clock,
        lease_s: float,
        tell: Callable[[Fact], None],
        beat_now: Callable[[], None],
        show: Callable[[Signs], None],
    ) -> None:
        self._home = home
        self._clock = clock
        self._lease_s = lease_s
        self._tell = tell
        self._show = show
        self._held: dict[Ref, Held] = {}
        self._beat_at = clock.boot()
        self.beat_now = beat_now
        self.care: Callable[[RunGrant, Held], None] | None = None
        self.draining = False
        self.changed = asyncio.Event()

    # What is here.

    def attempts(self) -> list[Attempt]:
        return [held.attempt for held in self._held.values()]

    def all(self) -> Sequence[Held]:
        return list(self._held.values())

    def get(self, ref: Ref) -> Held | None:
        return self._held.get(ref)

    def holds(self, run_id: UUID) -> bool:
        return any(ref.run_id == run_id for ref in self._held)

    def lease_fresh(self) -> bool:
        """Whether a fenced run may still be started."""
        return self._clock.boot() < self._beat_at + NO_START * self._lease_s

    # What comes in.

    def take(self, grant: RunGrant, *, due: float) -> None:
        """A grant; one that is here already only gets the nearer due instant."""
        ref = Ref(grant.run_id, grant.grant)
        known = self._held.get(ref)
        if known is not None:
            return
        daemon = grant.job_type == "daemon"
        attempt = life.claimed(ref, due=due, fenced=grant.fenced, daemon=daemon, grace_s=grant.grace_ms / 1000)
        held = self.add(Held(attempt))
        log.info("run.claimed", run=str(ref), job=grant.job, env=grant.env, due_in_s=round(due - self._clock.boot(), 3))
        assert self.care is not None
        self.care(grant, held)

    def add(self, held: Held) -> Held:
        self._held[held.attempt.ref] = held
        self._changed()
        return held

    def handle(self, ref: Ref, event: Event) -> None:
        """Decides, and carries out."""
        held = self._held.get(ref)
        if held is None:
            return
        before = held.attempt
        held.attempt, effects = life.decide(before, event, now=self._clock.boot())
        if held.attempt.phase is not before.phase:
            log.info("run.phase", run=str(ref), phase=held.attempt.phase, before=before.phase)
        for effect in effects:
            self.carry_out(held, effect)
        if held.attempt.phase is Phase.OVER and held.shipper is None:
            self._forget(held)
        self._changed()

    def settled(self, ref: Ref, event: Settled) -> None:
        self.handle(ref, event)

    def shipped(self, ref: Ref) -> None:
        """The recorder has the whole log of the attempt, or nothing more of it can come."""
        held = self._held.get(ref)
        if held is not None:
            held.shipper = None
            if held.attempt.phase in (Phase.OVER, Phase.ABANDONED):
                self._forget(held)
            self._changed()

    def on_beat(self, answer: BeatAnswer, sent_at: float) -> None:
        """An acknowledged beat: renews the leases of fenced runs, brings orders and how far logs are recorded."""
        self._beat_at = max(self._beat_at, sent_at)
        for held in self._held.values():
            if held.attempt.fenced and held.shim is not None:
                held.shim.send({"t": "beat", "at": sent_at})
        for order in answer.orders:
            self._obey(order)
        for ack in answer.spools:
            known = self._held.get(Ref(ack.run_id, ack.grant))
            if known is not None and known.shipper is not None:
                known.shipper.acknowledged(ack.last_seq)

    def tidy(self, ref: Ref) -> None:
        """Removes the folder of an attempt that was forgotten while it was being prepared."""
        if ref not in self._held:
            shutil.rmtree(self._home.run_folder(ref), ignore_errors=True)

    def shipped_if_none(self, ref: Ref) -> None:
        """Forgets an attempt of unknown end that has no log to ship."""
        held = self._held.get(ref)
        if held is not None and held.shipper is None:
            self.shipped(ref)

    def _obey(self, order: Order) -> None:
        if order.kind == "drain":
            if not self.draining:
                log.info("worker.draining")
            self.draining = True
        elif order.run_id is not None and order.grant is not None:
            ref = Ref(order.run_id, order.grant)
            self.handle(ref, life.Ordered(order.why or "user") if order.kind == "kill" else life.Disowned())

    # What goes out.

    def carry_out(self, held: Held, effect: Effect) -> None:
        match effect:
            case life.Tell(kind, reason):
                self._tell(Fact(held.attempt.ref, kind, reason, held.facts))
            case life.Go(at, until, number):
                self._to_shim(held, {"t": "go", "at": at, "until": until, "attempt": number})
            case life.Abort():
                self._to_shim(held, {"t": "abort"})
            case life.Stop(why, grace_s):
                self._to_shim(held, {"t": "stop", "why": why, "grace_s": grace_s})
            case life.Discard():
                self._discard(held)

    def _to_shim(self, held: Held, message: dict[str, Any]) -> None:
        if held.shim is not None:
            held.shim.send(message)

    def _discard(self, held: Held) -> None:
        """Nothing of it ran."""
        if held.shipper is not None:
            held.shipper.drop()

    def _forget(self, held: Held) -> None:
        ref = held.attempt.ref
        self._held.pop(ref, None)
        shutil.rmtree(self._home.run_folder(ref), ignore_errors=True)
        log.debug("run.forgotten", run=str(ref))

    def _changed(self) -> None:
        beating = tuple(
            BeatAttempt(run_id=h.attempt.ref.run_id, grant=h.attempt.ref.grant)
            for h in self._held.values()
            if h.attempt.beats
        )
        spools = tuple(
            RunRef(run_id=h.attempt.ref.run_id, grant=h.attempt.ref.grant)
            for h in self._held.values()
            if h.shipper is not None
        )
        self._show(Signs(beating, spools))
        self.changed.set()
