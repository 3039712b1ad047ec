"""Builds configuration rows and plays a worker by hand, for tests of the ledger on a real PostgreSQL."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from kirby_api.ledger_role import beats, claims, launches, reports, workers
from kirby_api.ledger_role.workers import Caller
from kirby_common.ledger import locks
from kirby_common.ledger.attempts import attempts
from kirby_common.ledger.runs import RunRow, read, runs
from kirby_common.ledger.tables import Context, ContextSchedule, Environment, Job, Schedule, Script
from kirby_common.ledger.waiting import let_all_go
from kirby_common.topics import DEFAULT_OFFERS_PREFIX
from kirby_common.worker_protocol import (
    BeatAnswer,
    BeatAttempt,
    BeatRequest,
    ClaimRequest,
    Hello,
    LaunchDecision,
    Report,
    ReportKind,
    ReportOutcome,
    RunGrant,
    RunRef,
    Welcome,
)
from kirby_scheduler.loops.tick import tick
from kirby_scheduler.term import Term
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

LEASE = timedelta(seconds=20)
HORIZON = timedelta(seconds=30)


class World:
    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def context(
        self, *, job: str = "hello", env: str = "prod", type: str = "scheduled", every: timedelta | None = None,
        cron: str | None = None, at: datetime | None = None, policies: dict[str, Any] | None = None,
        ready: bool = True, replicas: int = 1, group: str | None = None, per_worker: bool = False,
        package: tuple[str, str] | None = None,
    ) -> UUID:  # fmt: skip
        async with AsyncSession(self.engine) as session, session.begin():
            environment = await session.scalar(select(Environment).where(Environment.name == env))
            if environment is None:
                environment = Environment(name=env, topic_prefix="" if env == "prod" else f"{env}.")
                session.add(environment)
            row = await session.scalar(select(Job).where(Job.name == job))
            if row is None:
                row = Job(name=job, type=type, group=group)
                session.add(row)
            name, version = package or (f"{job}-{env}", "1.0")
            same = select(Script).where(Script.package_name == name, Script.package_version == version)
            script = await session.scalar(same)
            if script is None:
                script = Script(package_name=name, package_version=version)
                session.add(script)
            await session.flush()
            context = Context(
                job_id=row.id, environment_id=environment.id, script_id=script.id, policies=policies or {},
                replicas=replicas, per_worker=per_worker,
            )  # fmt: skip
            session.add(context)
            await session.flush()
            for kind, spec in (("every", every), ("cron", cron), ("at", at)):
                if spec is not None:
                    schedule = Schedule(name=f"{job}@{env}-{kind}", kind=kind)
                    if isinstance(spec, timedelta):
                        schedule.every_ms = round(spec.total_seconds() * 1000)
                    elif isinstance(spec, str):
                        schedule.expr = spec
                    else:
                        schedule.at = spec
                    session.add(schedule)
                    await session.flush()
                    session.add(ContextSchedule(context_id=context.id, schedule_id=schedule.id))
            await session.flush()
            lock = await locks.want(session, script.package_name, script.package_version)
            if ready:
                await self.resolve(session, lock.id)
            await locks.enable(session, context.id)
            return context.id

    async def resolve(self, tx: Any, lock_id: UUID, *, error: str | None = None, transient: bool = False) -> None:
        text_ = None if error else "hello==1.0 --hash=sha256:00\n"
        await locks.resolved(tx, lock_id, lock_text=text_, requires_python=None, error=error, transient=transient)

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with self.engine.begin() as tx:
            result = await tx.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []

    async def rewind(self, context_id: UUID, by: timedelta) -> None:
        """Pretends that nobody has looked at the context for so long."""
        await self.sql(
            "UPDATE contexts SET horizon = horizon - CAST(:by AS interval),"
            " next_due_at = next_due_at - CAST(:by AS interval) WHERE id = :id",
            by=by, id=context_id,
        )  # fmt: skip

    async def horizon(self, context_id: UUID) -> datetime:
        """Up to when the context's due times have their rows."""
        (row,) = await self.sql("SELECT horizon FROM contexts WHERE id = :id", id=context_id)
        assert isinstance(row.horizon, datetime)
        return row.horizon

    async def tick_over(self, context_id: UUID, every: timedelta) -> list[datetime]:
        """Ticks; returns the multiples of `every` that the tick had to write down, by arithmetic of its own."""
        before = (await self.horizon(context_id)).timestamp()
        await self.tick()
        after = (await self.horizon(context_id)).timestamp()
        step = every.total_seconds()
        return [datetime.fromtimestamp(n * step, UTC) for n in range(int(before // step) + 1, int(after // step) + 1)]

    async def term(self) -> Term:
        holder = uuid4()
        (row,) = await self.sql("UPDATE leader SET epoch = epoch + 1, holder = :h WHERE one RETURNING epoch", h=holder)
        return Term(self.engine, holder, row.epoch)

    async def tick(self, term: Term | None = None) -> int:
        return await tick(term or await self.term(), horizon=HORIZON, offers_prefix=DEFAULT_OFFERS_PREFIX)

    async def runs(self, context_id: UUID | None = None) -> list[RunRow]:
        async with self.engine.connect() as tx:
            statement = select(runs).order_by(runs.c.fire_at)
            if context_id is not None:
                statement = statement.where(runs.c.context_id == context_id)
            return list((await tx.execute(statement)).all())

    async def run(self, run_id: UUID) -> RunRow:
        async with self.engine.connect() as tx:
            row = await read(tx, run_id)
            assert row is not None
            return row

    async def attempts(self, run_id: UUID) -> list[Any]:
        async with self.engine.connect() as tx:
            statement = select(attempts).where(attempts.c.run_id == run_id).order_by(attempts.c.grant_no)
            return list((await tx.execute(statement)).all())

    async def worker(
        self, name: str = "w1", *, boot: str = "boot-1", home: UUID | None = None, labels: dict[str, str] | None = None
    ) -> "HandWorker":
        worker = HandWorker(self.engine, name, boot=boot, home=home or uuid4())
        worker.labels = labels or {}
        answer = await worker.hello()
        assert isinstance(answer, Welcome)
        return worker


class HandWorker:
    """Asks what a worker asks, one call at a time."""

    def __init__(self, engine: AsyncEngine, name: str, *, boot: str, home: UUID) -> None:
        self.engine = engine
        self.name = name
        self.boot = boot
        self.home = home
        self.incarnation = uuid4()
        self.labels: dict[str, str] = {}

    @property
    def caller(self) -> Caller:
        return Caller(name=self.name, incarnation=self.incarnation)

    async def hello(self) -> Any:
        request = Hello(
            name=self.name, incarnation=self.incarnation, boot_id=self.boot, home_id=self.home, host="host-a",
            version="0", platform="linux", python="3.11", labels=self.labels,
        )  # fmt: skip
        async with self.engine.begin() as tx:
            return await workers.hello(tx, request, lease=LEASE)

    async def claim(self, k: int = 10, *, claim_id: UUID | None = None) -> list[RunGrant]:
        async with self.engine.begin() as tx:
            worker = await workers.current(tx, self.caller)
            request = ClaimRequest(claim_id=claim_id or uuid4(), k=k, labels=self.labels)
            return await claims.claim(tx, worker, request, secret_key="a secret for tests")

    async def launch(self, *grants: RunGrant) -> list[LaunchDecision]:
        async with self.engine.begin() as tx:
            worker = await workers.current(tx, self.caller)
            refs = [RunRef(run_id=g.run_id, grant=g.grant) for g in grants]
            return await launches.launch(tx, worker, refs, offers_prefix=DEFAULT_OFFERS_PREFIX)

    async def report(self, grant: RunGrant, kind: ReportKind, **fields: Any) -> ReportOutcome:
        report = Report(kind=kind, run_id=grant.run_id, grant=grant.grant, **fields)
        async with self.engine.begin() as tx:
            worker = await workers.current(tx, self.caller)
            (outcome,) = await reports.take(tx, worker, [report], offers_prefix=DEFAULT_OFFERS_PREFIX)
        await let_all_go(self.engine.begin, offers_prefix=DEFAULT_OFFERS_PREFIX)
        return outcome

    async def beat(self, *grants: RunGrant) -> BeatAnswer:
        request = BeatRequest(beat=1, attempts=[BeatAttempt(run_id=g.run_id, grant=g.grant) for g in grants])
        async with self.engine.begin() as tx:
            return await beats.beat(tx, self.caller, request)

    async def start(self, grant: RunGrant) -> None:
        """Launches and reports the start."""
        (decision,) = await self.launch(grant)
        assert decision.ok, decision.reason
        outcome = await self.report(grant, ReportKind.STARTED, pid=1, started_ms_ago=0)
        assert outcome.accepted

    async def end(self, grant: RunGrant, exit_code: int | None = 0, **fields: Any) -> ReportOutcome:
        return await self.report(grant, ReportKind.ENDED, exit_code=exit_code, ended_ms_ago=0, **fields)
