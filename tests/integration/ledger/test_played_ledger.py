"""The simulation's ledger against the real one: the same random calls, and after each the same runs.

What the simulation proves holds for Kirby as far as the two behave alike; this is where that is seen.
"""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from kirby_api.ledger_role.workers import Gone
from kirby_common.ledger import triggers
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.walk import Rules
from kirby_common.topics import DEFAULT_OFFERS_PREFIX
from kirby_common.worker_protocol import NameInUse, ReportKind, RunGrant
from kirby_scheduler.loops.reap import settle
from kirby_scheduler.loops.sweep import sweep
from kirby_scheduler.term import Term

from tests.integration.ledger.world import LEASE, HandWorker, World
from tests.sim.ledger import Gone as PlayedGone
from tests.sim.ledger import MemoryLedger, NameTaken, PlayedContext, Ref, Told, seconds

PREFIX = DEFAULT_OFFERS_PREFIX
JOBS: dict[str, dict[str, Any]] = {
    "careful": {"overlap": "skip"},
    "tried": {"overlap": "allow", "retry": {"attempts": 3}},
    "patient": {"overlap": "allow", "retry": {"attempts": 2, "delay": "1h"}},
    "twice": {"overlap": "allow", "delivery": "at_least_once"},
    "queued": {"overlap": "queue_one", "retry": {"attempts": 2}},
    "taking-over": {"overlap": "cancel_previous", "delivery": "at_least_once"},
}
ENDS: tuple[dict[str, Any], ...] = (
    {"exit_code": 0}, {"exit_code": 0}, {"exit_code": 1}, {"exit_code": None}, {"exit_code": None, "signal": 9},
    {"exit_code": 0, "killed_by": "fence"}, {"exit_code": None, "signal": 9, "killed_by": "user"},
)  # fmt: skip


class Both:
    """The two ledgers, and what has been asked of them so far. Every step asks both and compares the answers."""

    def __init__(self, world: World, term: Term, seed: int) -> None:
        self.world, self.term, self.random = world, term, Random(seed)
        self.played = MemoryLedger(lambda: seconds(datetime.now(UTC)), lambda: 0.5, lease=LEASE.total_seconds())
        self.played.epoch = term.epoch
        self.workers: dict[str, HandWorker] = {}
        self.numbers: dict[UUID, int] = {}
        self.grants: list[tuple[str, RunGrant]] = []
        self.claims: list[tuple[UUID, int]] = []
        self.keys = 0
        self.told: list[str] = []

    async def set_up(self) -> None:
        for job, policies in JOBS.items():
            context_id = await self.world.context(job=job, policies=policies)
            rules = Rules([], Policies.model_validate(policies))
            self.played.contexts[context_id] = PlayedContext(context_id, rules)
        for name in ("w1", "w2"):
            await self.arrive(name, boot="boot-1", home=uuid4())

    async def arrive(self, name: str, *, boot: str, home: UUID) -> None:
        worker = HandWorker(self.world.engine, name, boot=boot, home=home)
        number = len(self.numbers) + 1
        real = await worker.hello()
        try:
            held: Any = self.played.hello(name, number, hash(boot), hash(home))
        except NameTaken:
            held = None
        self.told.append(f"{name} says hello from {boot}")
        assert (held is None) == isinstance(real, NameInUse), self.told
        if held is not None:
            assert {ref for ref, _ in held} == {(a.run_id, a.grant) for a in real.attempts}, self.told
            self.workers[name], self.numbers[worker.incarnation] = worker, number

    # The steps, one of which is taken at a time.

    async def trigger(self) -> None:
        context = self.random.choice(list(self.played.contexts.values()))
        self.keys += self.random.choice((0, 1, 1, 1))
        self.played.trigger(context, str(self.keys))
        async with self.world.engine.begin() as tx:
            await triggers.trigger(tx, context_id=context.id, principal="ann", key=str(self.keys))

    async def claim(self) -> None:
        name, again = self.random.choice(("w1", "w2")), self.claims and self.random.random() < 0.2
        claim_id, number = self.random.choice(self.claims) if again else (uuid4(), len(self.claims) + 1)
        self.claims.append((claim_id, number))
        worker, k = self.workers[name], self.random.randint(1, 4)
        real = await worker.claim(k, claim_id=claim_id)
        played = self.played.claim(name, self.numbers[worker.incarnation], number, k)
        assert {(g.run_id, g.grant) for g in real} == {(g.run_id, g.grant) for g in played}, self.told
        known = {_ref(grant) for _, grant in self.grants}
        self.grants += [(name, grant) for grant in real if _ref(grant) not in known]

    def _some_grant(self) -> tuple[str, RunGrant] | None:
        recent = self.grants[-8:]
        return self.random.choice(recent) if recent else None

    async def launch(self) -> None:
        if (some := self._some_grant()) is None:
            return
        name, grant = some
        worker = self.workers[name]
        (real,) = await worker.launch(grant)
        (played,) = self.played.launch(name, self.numbers[worker.incarnation], [_ref(grant)])
        assert (real.ok, real.attempt) == (played.ok, played.attempt), (self.told, real, played)

    async def report(self) -> None:
        if (some := self._some_grant()) is None:
            return
        name, grant = some
        kind = self.random.choice((*ReportKind, ReportKind.STARTED, ReportKind.ENDED))
        fields = self.random.choice(ENDS) if kind is ReportKind.ENDED else {}
        worker = self.workers[name]
        real = await worker.report(grant, kind, **fields)
        number = self.numbers[worker.incarnation]
        (played,) = self.played.report(name, number, [Told(kind, _ref(grant), **fields)])
        self.told.append(f"  {kind} {fields}")
        assert (real.accepted, real.status) == played, (self.told, real)

    async def beat(self) -> None:
        name = self.random.choice(("w1", "w2"))
        worker, mine = self.workers[name], [g for n, g in self.grants[-8:] if n == name]
        orders = (await worker.beat(*mine)).orders
        played = self.played.beat(name, self.numbers[worker.incarnation], [_ref(g) for g in mine])
        assert {(o.kind, (o.run_id, o.grant)) for o in orders} == {(k, ref) for k, ref, _ in played}, self.told

    async def settle(self) -> None:
        ref = self.random.choice(list(self.played.open) or [None])
        if ref is None:
            return
        beat = self.played.open[ref].beat - self.random.choice((0, 0, 0, 1))
        real = await settle(self.term, ref, beat=beat, offers_prefix=PREFIX)
        assert real == self.played.settle(self.term.epoch, ref, beat), self.told

    async def cancel(self) -> None:
        if not self.played.live:
            return
        run = self.random.choice(list(self.played.live.values()))
        self.played.cancel(run)
        try:
            async with self.world.engine.begin() as tx:
                await triggers.kill(tx, run.id, by="ann")
        except triggers.Conflict:
            assert run.status == "LOST", self.told

    async def sweep(self) -> None:
        self.played.sweep(self.term.epoch)
        await sweep(self.term, offers_prefix=PREFIX)

    async def restart(self) -> None:
        old = self.workers[self.random.choice(("w1", "w2"))]
        await self.arrive(old.name, boot=old.boot, home=old.home)
        with pytest.raises(Gone):
            await old.beat()
        with pytest.raises(PlayedGone):
            self.played.beat(old.name, self.numbers[old.incarnation], [])

    async def reboot(self) -> None:
        """Silent for longer than a lease, then back after a boot."""
        old = self.workers[self.random.choice(("w1", "w2"))]
        await self.world.sql(
            "UPDATE workers SET last_beat_at = last_beat_at - CAST(:by AS interval) WHERE name = :name",
            by=timedelta(minutes=5), name=old.name,
        )  # fmt: skip
        self.played.workers[old.name].last_beat -= 300
        await self.arrive(old.name, boot=f"boot-{len(self.numbers)}", home=old.home)

    # What must be alike.

    async def compare(self) -> None:
        real = {
            r.id: (r.status, r.grant_no, r.attempt, r.unfenced, r.kill_why, r.startable_at is None, r.waits_for)
            for r in await self.world.runs()
        }
        played = {
            r.id: (str(r.status), r.grant, r.attempt, r.unfenced, r.kill_why, r.startable_at is None, r.waits_for)
            for r in self.played.runs.values()
        }
        assert real == played, "\n".join(self.told[-30:])
        rows = await self.world.sql("SELECT run_id, grant_no, beat FROM attempts WHERE open")
        assert {(r.run_id, r.grant_no): r.beat for r in rows} == self.played.beats(), "\n".join(self.told[-30:])


STEPS = (
    Both.trigger, Both.trigger, Both.claim, Both.claim, Both.launch, Both.launch, Both.launch, Both.report,
    Both.report, Both.report, Both.report, Both.beat, Both.settle, Both.settle, Both.cancel, Both.sweep,
    Both.restart, Both.reboot,
)  # fmt: skip


def _ref(grant: RunGrant) -> Ref:
    return (grant.run_id, grant.grant)


@pytest.mark.parametrize("seed", range(2))
async def test_the_played_ledger_does_what_the_real_one_does(world: World, seed: int) -> None:
    both = Both(world, await world.term(), seed)
    await both.set_up()
    for _ in range(60):
        step = both.random.choice(STEPS)
        both.told.append(step.__name__)
        await step(both)
        await both.compare()
