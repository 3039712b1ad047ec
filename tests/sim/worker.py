"""A worker's process: the loops around its decisions, each talking to the played ledger."""

from collections.abc import Callable, Sequence
from typing import Any

from kirby_common.worker_protocol import ReportKind
from kirby_worker.adapters.beats import BEATS_PER_LEASE
from kirby_worker.domain import attempt as life
from kirby_worker.domain.attempt import START_WITHIN_S, Phase
from kirby_worker.domain.capacity import Limits, next_ask, to_ask, to_claim
from kirby_worker.shim.leasing import NO_START

from tests.sim.host import DESCRIPTOR, Held, Host, Shim, adopted, attempt_of
from tests.sim.ledger import Gone, Granted, MemoryLedger, NameTaken, Ref, Told
from tests.sim.loop import Actor, Loop, Network, Unanswered

LIMITS = Limits(places=6, running=4)
GRACE = 0.5
_LAST = ("ended", "not_launched")


class Worker(Actor):
    """One incarnation."""

    def __init__(
        self, loop: Loop, host: Host, incarnation: int, *, ledger: MemoryLedger, network: Network,
        on_launch: Callable[[list[Ref]], None],
    ) -> None:  # fmt: skip
        super().__init__(loop, f"{host.name}/{incarnation}")
        self._on_launch = on_launch
        self._host = host
        self._ledger = ledger
        self._network = network
        self._incarnation = incarnation
        self._held: dict[Ref, Held] = {}
        self._reports: list[Told] = []
        self._reporting = False
        self._beat_at = loop.now
        self._claims = 0
        self._planned: float | None = None
        host.worker = self
        self.pause(max(0.0, host.frozen_until - loop.now))
        self.after(0.1, self._hello)

    def _call(self, serve: Any, *arguments: Any, then: Any, timeout: float = 1.0) -> None:
        def answered(value: Any) -> None:
            if isinstance(value, Gone):
                self.stop("gone")
            else:
                then(value)

        self._network.call(
            self, serve, self._host.name, self._incarnation, *arguments, then=answered, timeout=timeout,
            cut=self._host.cut, errors=(Gone, NameTaken),
        )  # fmt: skip

    def stop(self, why: str) -> None:
        """The process ends; its shims notice."""
        self.loop.note(self.name, "ends", why)
        self.die()
        for shim in list(self._host.shims.values()):
            shim.after(DESCRIPTOR, shim.on_worker_lost)

    # Start.

    def _hello(self) -> None:
        self._call(self._ledger.hello, self._host.boot, self._host.home, then=self._welcome)

    def _welcome(self, held: Any) -> None:
        if not isinstance(held, list):
            self.after(0.5, self._hello)
            return
        self._beat_at = self.loop.now
        self._adopt(dict(held))
        self.after(0.0, self._beat)
        self.after(0.0, self._claim)

    def _adopt(self, inherited: dict[Ref, str]) -> None:
        for ref in list(self._host.disk):
            self._adopt_one(ref, inherited.pop(ref, None))
        for ref, status in inherited.items():
            if status == "CLAIMED":
                self._give_back(ref)

    def _adopt_one(self, ref: Ref, status: str | None) -> None:
        shim, facts = self._host.shims.get(ref), self._host.disk[ref]
        if shim is not None:
            self._adopt_live(ref, shim)
        elif "go" in facts and "not_launched" not in facts:
            self._held[ref] = Held(adopted(ref, Phase.RUNNING, None))
            self._conclude(ref)
        elif status == "CLAIMED" or facts["prepared"]["boot"] == self._host.boot:
            self._give_back(ref)
        else:
            del self._host.disk[ref]

    def _adopt_live(self, ref: Ref, shim: Shim) -> None:
        phase = Phase.RUNNING if shim.phase == "running" else Phase.GOING if shim.go else Phase.ABORTING
        self._held[ref] = held = Held(adopted(ref, phase, shim), shim=shim)
        if phase is Phase.RUNNING:
            self._carry_out(ref, held, life.Tell(ReportKind.STARTED))
        elif phase is Phase.ABORTING:
            shim.after(DESCRIPTOR, shim.on_abort)

    def _give_back(self, ref: Ref) -> None:
        self._held[ref] = held = Held(adopted(ref, Phase.SETTLING, None))
        self._carry_out(ref, held, life.Tell(ReportKind.NOT_LAUNCHED, "the worker was restarted"))

    # What happens to attempts.

    def _handle(self, ref: Ref, event: life.Event) -> None:
        held = self._held.get(ref)
        if held is None:
            return
        held.attempt, effects = life.decide(held.attempt, event, now=self.loop.now)
        for effect in effects:
            self._carry_out(ref, held, effect)
        if held.attempt.phase in (Phase.OVER, Phase.ABANDONED):
            del self._held[ref]
            self._host.disk.pop(ref, None)
        self._look_for_launches()

    def _carry_out(self, ref: Ref, held: Held, effect: life.Effect) -> None:
        shim = held.shim
        match effect:
            case life.Tell(kind, reason):
                self._tell(ref, held, kind, reason)
            case life.Go() if shim is not None:
                shim.after(DESCRIPTOR, shim.on_go, effect)
            case life.Abort() if shim is not None:
                shim.after(DESCRIPTOR, shim.on_abort)
            case life.Stop(why, grace) if shim is not None:
                shim.after(DESCRIPTOR, shim.on_stop, why, grace)
            case _:
                pass

    def on_fact(self, ref: Ref, fact: dict[str, Any]) -> None:
        held = self._held.get(ref)
        if held is None:
            return
        held.facts = held.facts | fact
        match fact["t"]:
            case "started":
                self._handle(ref, life.Started(1, fact["started_at"], fact["attempt"]))
            case "ended":
                self._handle(ref, life.Ended(self.loop.now))
            case _:
                self._handle(ref, life.NotLaunched(fact["reason"]))

    def on_shim_gone(self, ref: Ref) -> None:
        if ref in self._held:
            self._held[ref].shim = None
            self._conclude(ref)

    def _conclude(self, ref: Ref) -> None:
        held, facts = self._held[ref], self._host.disk.get(ref, {})
        for kind in ("started", *_LAST):
            if kind in facts and held.facts.get("t") not in (kind, *_LAST):
                self.on_fact(ref, facts[kind])
        if "go" not in facts and "not_launched" not in facts:
            self._handle(ref, life.NotLaunched("the shim ended before the start"))
        self._handle(ref, life.EndUnknown())

    # Claims.

    def _claim(self) -> None:
        k = to_claim(self._attempts(), limits=LIMITS, now=self.loop.now, disk_used=0.0)
        if not k:
            self.after(1.0, self._claim)
            return
        self._claims += 1
        self._ask_claim(self._incarnation * 100_000 + self._claims, k)

    def _ask_claim(self, claim_id: int, k: int) -> None:
        def answered(grants: Any) -> None:
            if grants is Unanswered:
                self.after(0.5, self._ask_claim, claim_id, k)
                return
            for grant in grants:
                self._take(grant)
            self.after(0.0 if len(grants) == k else self.loop.random.random(), self._claim)

        self._call(self._ledger.claim, claim_id, k, then=answered)

    def _take(self, grant: Granted) -> None:
        ref = (grant.run_id, grant.grant)
        if ref in self._held:
            return
        attempt = attempt_of(
            ref, due=self.loop.now + grant.due_in, fenced=grant.fenced, daemon=grant.daemon, grace=GRACE
        )
        self._held[ref] = Held(attempt)
        chance = self.loop.random.random()
        self.after(0.02 + (3.0 if chance < 0.03 else 0.1 * chance), self._prepared, ref, grant, chance > 0.97)

    def _prepared(self, ref: Ref, grant: Granted, fails: bool) -> None:
        held = self._held.get(ref)
        if held is None or held.attempt.phase is not Phase.PREPARING:
            return
        if fails:
            self._handle(ref, life.PreparationFailed("no environment"))
            return
        held.shim = Shim(self._host, ref, fenced=grant.fenced, timeout=grant.timeout, grace=GRACE)
        self._handle(ref, life.Prepared())

    # Launches.

    def _attempts(self) -> list[life.Attempt]:
        return [held.attempt for held in self._held.values()]

    def _look_for_launches(self) -> None:
        if self._planned is None or self._planned > self.loop.now:
            self._planned = self.loop.now
            self.after(0.0, self._launch)

    def _launch(self) -> None:
        now, self._planned = self.loop.now, None
        fresh = self._lease_fresh()
        batch = [a for a in to_ask(self._attempts(), limits=LIMITS, now=now) if fresh or not a.fenced]
        if batch:
            refs = [(a.ref.run_id, a.ref.grant) for a in batch]
            for ref in refs:
                self._handle(ref, life.Asked())
            self._on_launch(refs)
            self._ask_launch(refs, now + START_WITHIN_S)
            return
        again = next_ask(self._attempts(), now=now)
        waiting = any(a.phase is Phase.READY for a in self._attempts())
        if again is not None or waiting:
            self._planned = min(now + 1.0, again or now + 1.0)
            self.after(self._planned - now, self._launch)

    def _lease_fresh(self) -> bool:
        return self.loop.now < self._beat_at + NO_START * self._ledger.lease

    def _ask_launch(self, refs: Sequence[Ref], until: float) -> None:
        left = until - self.loop.now
        if left <= 0:
            for ref in refs:
                self._handle(ref, life.Unanswered())
            return

        def answered(decisions: Any) -> None:
            if decisions is Unanswered:
                self.after(0.05, self._ask_launch, refs, until)
                return
            for ref, decision in zip(refs, decisions, strict=True):
                self._handle(ref, life.Decided(decision))

        self._call(self._ledger.launch, refs, then=answered, timeout=left)

    # Reports.

    def _tell(self, ref: Ref, held: Held, kind: ReportKind, reason: str | None) -> None:
        known = held.facts if kind in (ReportKind.STARTED, ReportKind.ENDED) else {}
        ended = known if kind is ReportKind.ENDED else {}
        self._reports.append(
            Told(
                kind, ref, reason, exit_code=ended.get("exit_code"), signal=ended.get("signal"),
                killed_by=ended.get("killed_by"), started="started_at" in known,
            )
        )  # fmt: skip
        if not self._reporting:
            self._reporting = True
            self.after(0.0, self._report)

    def _report(self) -> None:
        batch = list(self._reports)

        def answered(outcomes: Any) -> None:
            if outcomes is Unanswered:
                self.after(0.3, self._report)
                return
            del self._reports[: len(batch)]
            for told, (accepted, status) in zip(batch, outcomes, strict=True):
                self._handle(told.ref, life.Settled(told.kind, accepted, status))
            if self._reports:
                self._report()
            else:
                self._reporting = False

        self._call(self._ledger.report, batch, then=answered)

    # Beats.

    def _beat(self) -> None:
        began, lease = self.loop.now, self._ledger.lease
        refs = [ref for ref, held in self._held.items() if held.attempt.beats]

        def answered(orders: Any) -> None:
            good = orders is not Unanswered
            wait = lease * BEATS_PER_LEASE if good else lease * 0.05
            self.after(max(0.0, began + wait - self.loop.now), self._beat)
            if good:
                self._on_beat(began, orders)

        self._call(self._ledger.beat, refs, then=answered, timeout=max(0.5, lease * 0.25))

    def _on_beat(self, sent_at: float, orders: Sequence[tuple[str, Ref, str | None]]) -> None:
        self._beat_at = max(self._beat_at, sent_at)
        for held in self._held.values():
            if held.attempt.fenced and held.shim is not None:
                held.shim.after(DESCRIPTOR, held.shim.on_beat, sent_at)
        for kind, ref, why in orders:
            event = life.Ordered(why or "user") if kind == "kill" else life.Disowned()  # type: ignore[arg-type]
            self._handle(ref, event)
