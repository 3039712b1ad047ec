"""One simulation: what a seed makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

from kirby_common.ledger.policies import Policies
from kirby_common.ledger.transitions import ENDED, Status
from kirby_common.ledger.walk import Rules
from kirby_common.schedules import ScheduleSpec

from tests.sim.candidate import Candidate, Hints
from tests.sim.host import Host, Script, ScriptPlan
from tests.sim.ledger import MemoryLedger, PlayedContext, Ref, instant
from tests.sim.loop import Actor, Loop, Network
from tests.sim.promises import Broken, Promises, Stretch, describe
from tests.sim.worker import Worker

LEASE = 2.0
TROUBLE_UNTIL, ALL_OFF, LATEST_END = 14.0, 17.0, 75.0
PAUSES = (0.5 * LEASE, 1.5 * LEASE, 4 * LEASE)


@dataclass(frozen=True)
class Result:
    seed: int
    starts: int
    runs: int
    faults: int


class Simulation:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.loop = Loop(self.random)
        self.skew = 0.0
        self.faults = 0
        self.ledger = MemoryLedger(lambda: self.loop.now + self.skew, self.random.random, lease=LEASE)
        self.network = Network(self.loop, trouble=self.random.choice((0.0, 0.02, 0.1)))
        self.hints = Hints(self.loop)
        self.witness: list[Script] = []
        self.promises = Promises(self.loop, self.ledger, self.witness)
        self._plans: dict[UUID, tuple[float, float]] = {}
        self._listen()
        self._make_contexts()
        self.candidates = [self._candidate(f"candidate {n}") for n in range(2)]
        self.hosts = [
            Host(self.loop, f"host {n}", lease=LEASE, witness=self.witness, plan=self._plan) for n in range(2)
        ]
        self._incarnations = 0
        for host in self.hosts:
            self._start_worker(host)
        self.relay = Relay(self.loop, self.ledger, self.promises)

    def _listen(self) -> None:
        self.ledger.on_move = self.promises.on_move
        self.ledger.on_leader_write = self.promises.on_leader_write
        self.ledger.on_lost = self.promises.on_lost
        beat = self.ledger.beat

        def beaten(name: str, incarnation: int, refs: Sequence[Ref]) -> Any:
            before = [self.ledger.attempts[ref].beat for ref in refs]
            answer = beat(name, incarnation, refs)
            self.promises.beaten([r for r, b in zip(refs, before, strict=True) if self.ledger.attempts[r].beat > b])
            return answer

        self.ledger.beat = beaten  # type: ignore[method-assign]

    # The cast.

    def _candidate(self, name: str) -> Candidate:
        return Candidate(self.loop, name, ledger=self.ledger, hints=self.hints, network=self.network)

    def _start_worker(self, host: Host) -> None:
        if host.worker is None or not host.worker.alive:
            self._incarnations += 1
            Worker(
                self.loop, host, self._incarnations, ledger=self.ledger, network=self.network,
                on_launch=self.promises.launch_sent,
            )  # fmt: skip

    def _make_contexts(self) -> None:
        for number in range(3):
            self._make_context(number, self._policies(), every=self.random.choice((1.0, 2.0, 3.0)))
        self._make_context(3, Policies(), every=None)

    def _policies(self) -> Policies:
        choice = self.random.choice
        retry = {"attempts": choice((1, 1, 3)), "delay": choice(("0s", "1s")), "kind": "constant"}
        return Policies.model_validate(
            {
                "overlap": choice(("skip", "queue_one", "allow", "cancel_previous")),
                "delivery": choice(("at_most_once", "at_most_once", "at_least_once")),
                "misfire": choice(("skip", "fire_once", "fire_all")), "start_deadline": choice(("3s", "6s")),
                "timeout": choice((None, None, "2s")), "retry": retry,
            }
        )  # fmt: skip

    def _make_context(self, number: int, policies: Policies, *, every: float | None) -> None:
        context = PlayedContext(UUID(int=number + 1), Rules([], policies), daemon=every is None)
        self.ledger.contexts[context.id] = context
        self._plans[context.id] = (self.random.choice((0.1, 1.0, 4.0, 12.0)), self.random.choice((0.0, 0.3)))
        if every is not None:
            context.rules = replace(context.rules, schedules=[_schedule(every)])
            context.horizon = context.next_due_at = instant(0.0)
            self.promises.stretches.append(Stretch(context, every, 0.0))

    def _plan(self, ref: Ref) -> ScriptPlan:
        context = self.ledger.runs[ref[0]].context
        longest, failing = self._plans[context.id]
        exit_code = 1 if self.random.random() < failing else 0
        if context.daemon:
            return ScriptPlan(60.0 if self.random.random() < 0.7 else 2.0, exit_code)
        return ScriptPlan(self.random.random() * longest, exit_code)

    # The course.

    def run(self) -> Result:
        """Raises `Broken`, or whatever a decision raises: both are findings."""
        for _ in range(self.random.randint(3, 9)):
            self.loop.at(1.0 + self.random.random() * (TROUBLE_UNTIL - 1.0), self._fault)
        for _ in range(self.random.randint(2, 8)):
            self.loop.at(self.random.random() * TROUBLE_UNTIL, self._edit)
        self.loop.at(TROUBLE_UNTIL, self._heal)
        self.loop.at(ALL_OFF, self._all_off)
        moment, over_since = ALL_OFF, 0
        while over_since < 2 and moment < LATEST_END:
            moment += 1.0
            self._until(moment)
            over_since = over_since + 1 if self._is_over() else 0
        self.promises.at_end()
        return Result(self.seed, len(self.witness), len(self.ledger.runs), self.faults)

    def _until(self, moment: float) -> None:
        self.loop.run(moment, after_each=self.promises.after_each)

    def _is_over(self) -> bool:
        if self.ledger.open or self.ledger.outbox or any(s.ended_at is None for s in self.witness):
            return False
        return all(r.status in ENDED and not r.unfenced for r in self.ledger.live.values())

    def _fault(self) -> None:
        self.faults += 1
        kind = self.random.choice(_FAULTS)
        self.loop.note("fault", kind.__name__)
        kind(self)

    def _host(self) -> Host:
        return self.random.choice(self.hosts)

    def _kill_worker(self) -> None:
        host = self._host()
        if host.worker.alive:
            host.worker.stop("killed")
        self.loop.at(self.loop.now + self.random.random() * 3 * LEASE, self._start_worker, host)

    def _pause_worker(self) -> None:
        self._host().worker.pause(self.random.choice(PAUSES))

    def _freeze_host(self) -> None:
        self._host().freeze(self.random.choice(PAUSES))

    def _cut_host(self) -> None:
        host = self._host()
        host.cut_until = self.loop.now + self.random.choice(PAUSES)

    def _crash_host(self) -> None:
        host = self._host()
        if host.worker.alive:
            host.worker.die()
        host.crash()
        self.loop.at(self.loop.now + self.random.random() * 3 * LEASE, self._start_worker, host)

    def _kill_shim(self) -> None:
        shims = sorted(self._host().shims.values(), key=lambda s: s.name)
        if shims:
            self.random.choice(shims).kill()

    def _kill_candidate(self) -> None:
        candidate = self.random.choice(self.candidates)
        if candidate.alive:
            candidate.die()
            self.loop.at(self.loop.now + self.random.random() * 3.0, candidate.start)

    def _pause_candidate(self) -> None:
        self.random.choice(self.candidates).pause(self.random.choice(PAUSES))

    def _redis_away(self) -> None:
        self.hints.away_until = self.loop.now + self.random.choice(PAUSES)

    def _redis_forgets(self) -> None:
        self.hints.forget()

    def _ledger_down(self) -> None:
        self.network.down_until = self.loop.now + self.random.choice((0.2, 1.0, 3.0))

    def _clock_steps(self) -> None:
        self.promises.clock_stepped = True
        self.skew += self.random.choice((-7.0, -0.5, 0.5, 7.0))

    def _kill_relay(self) -> None:
        self.relay.crash()

    # What users do meanwhile.

    def _edit(self) -> None:
        self.random.choice((self._pause_or_resume, self._reschedule, self._cancel, self._trigger, self._trigger))()

    def _scheduled(self) -> PlayedContext:
        return self.random.choice([c for c in self.ledger.contexts.values() if not c.daemon])

    def _change(self, context: PlayedContext, rules: Rules, *, enabled: bool = True) -> None:
        self.loop.note("user", "changes", context.id, "paused" if rules.paused else "", "on" if enabled else "off")
        late = self.ledger.change_rules(context, rules, enabled=enabled)
        self.promises.too_late |= {run.id for run in late}
        off = rules.paused is not None or not enabled
        if off:
            self.promises.off_since[context.id] = self.ledger.clock()
        else:
            self.promises.off_since.pop(context.id, None)

    def _pause_or_resume(self) -> None:
        context = self._scheduled()
        paused = None if context.rules.paused else "paused by ann"
        self._change(context, replace(context.rules, paused=paused))

    def _reschedule(self) -> None:
        context, every = self._scheduled(), self.random.choice((1.0, 2.0, 5.0))
        self._end_stretch(context)
        self.promises.stretches.append(Stretch(context, every, self.ledger.clock()))
        self._change(context, replace(context.rules, schedules=[_schedule(every)]))

    def _end_stretch(self, context: PlayedContext) -> None:
        for stretch in self.promises.stretches:
            if stretch.context is context and stretch.until is None:
                stretch.until = self.ledger.clock()

    def _cancel(self) -> None:
        live = sorted((r for r in self.ledger.live.values() if r.status is not Status.LOST), key=lambda r: r.id)
        if live:
            self.ledger.cancel(self.random.choice(live))

    def _trigger(self) -> None:
        context, key = self._scheduled(), str(self.random.random())
        self.promises.asked_for.add((context.id, key))
        for _ in range(self.random.choice((1, 1, 2))):
            self.ledger.trigger(context, key)

    # The end of trouble.

    def _heal(self) -> None:
        self.network.trouble = 0.0
        for candidate in self.candidates:
            if not candidate.alive:
                candidate.start()

    def _all_off(self) -> None:
        for context in self.ledger.contexts.values():
            self._end_stretch(context)
            if context.daemon:
                context.enabled = False
            else:
                self._change(context, context.rules, enabled=False)
        for host in self.hosts:
            self._start_worker(host)


class Relay(Actor):
    """Produces the outbox; what it took is gone from there only once it was produced."""

    def __init__(self, loop: Loop, ledger: MemoryLedger, promises: Promises) -> None:
        super().__init__(loop, "relay")
        self._ledger = ledger
        self._promises = promises
        self.after(0.5, self._flush)

    def _flush(self) -> None:
        taken = list(self._ledger.outbox[:500])
        self.after(0.01, self._produce, taken)

    def _produce(self, taken: list[tuple[UUID, int]]) -> None:
        self._promises.produced.update(taken)
        self.after(0.01, self._commit, len(taken))

    def _commit(self, count: int) -> None:
        del self._ledger.outbox[:count]
        self.after(0.4, self._flush)

    def crash(self) -> None:
        """Dies at whatever step, and is started anew."""
        self.die()
        self.alive = True
        self.after(0.5, self._flush)


def _schedule(every: float) -> ScheduleSpec:
    return ScheduleSpec(kind="every", every=timedelta(seconds=every))


_FAULTS = (
    Simulation._kill_worker, Simulation._pause_worker, Simulation._freeze_host, Simulation._cut_host,
    Simulation._crash_host, Simulation._kill_shim, Simulation._kill_shim, Simulation._kill_candidate,
    Simulation._pause_candidate, Simulation._redis_away, Simulation._redis_forgets, Simulation._ledger_down,
    Simulation._clock_steps, Simulation._kill_relay,
)  # fmt: skip


def simulate(seed: int) -> Result:
    """Runs one seed. Raises `Broken` with what happened before."""
    simulation = Simulation(seed)
    try:
        return simulation.run()
    except Exception as error:
        raise Broken(
            f"seed {seed}: {type(error).__name__}: {error}\n{describe(simulation.loop.trace)}\n"
            f"seed {seed}: {type(error).__name__}: {error}\nreplay it: make sim SEED={seed}"
        ) from error
