"""A chaos run: the cast plays, faults befall it, users edit meanwhile, and in the end the checker judges."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

from kirby_api.ledger_role.chunks import Unreadable, read_chunk
from kirby_common.database import is_passing
from kirby_common.kafka import KafkaTail
from kirby_common.ledger import triggers
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.rules import RulesChange, change_of_rules
from kirby_common.ledger.runs import RunRow
from kirby_common.ledger.tables import Context, Job, Schedule
from kirby_common.ports import Start
from kirby_common.settings import KafkaSettings
from kirby_common.topics import LOGS
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tests.chaos import faults
from tests.chaos.cast import Cast
from tests.chaos.checker import ENDS, Finding, Heard, History, Row, Stretch, count, judge
from tests.eventually import eventually

FAULT_EVERY_S = 4.5
EDIT_EVERY_S = 3.0
SECOND = timedelta(seconds=1)
Say = Callable[[str], None]


@dataclass
class Outcome:
    seed: int
    findings: list[Finding]
    faults: Counter[str]
    launches: int
    statuses: Counter[str]
    notes: list[str] = field(default_factory=list)

    @property
    def last_line(self) -> str:
        return f"{count(self.findings)} faults={self.faults.total()} launches={self.launches} seed={self.seed}"


class Storm:
    def __init__(self, cast: Cast, *, seed: int, say: Say) -> None:
        self._cast = cast
        self._seed = seed
        self._random = Random(seed)
        self._say = say
        self._began = time.monotonic()
        self._faults: Counter[str] = Counter()
        self._every: dict[UUID, tuple[float, float]] = {}
        self._stretches: list[Stretch] = []

    def _tell(self, what: str) -> None:
        self._say(f"{time.monotonic() - self._began:7.1f}  {what}")

    async def run(self, *, minutes: float) -> Outcome:
        """Everything, from the first job to the verdict."""
        await self._make_jobs()
        self._cast.enter_schedulers()
        self._began = time.monotonic()
        planned = faults.plan(self._random, count=max(1, round(minutes * 60 / FAULT_EVERY_S)))
        async with asyncio.TaskGroup() as group:
            meanwhile = [group.create_task(self._edit_for_ever()), group.create_task(self._supervise())]
            for name in planned:
                group.create_task(self._befall(name))
                await asyncio.sleep(FAULT_EVERY_S)
            for task in meanwhile:
                task.cancel()
        supervising = asyncio.create_task(self._supervise())
        try:
            await self._settle()
            return await self._judge()
        finally:
            supervising.cancel()

    async def run_without_kafka(self, *, ended: int) -> Outcome:
        """The jobs alone, and no Kafka until so many more runs have ended; then to the verdict."""
        await self._make_jobs()
        self._cast.enter_schedulers()
        await eventually(lambda: self._have_ended(1), timeout=60, what="the first run's end")
        self._cast.kill_store("kafka")
        before = await self._count_ended()
        await eventually(lambda: self._have_ended(before + ended), timeout=120, every=0.2, what="runs without Kafka")
        await self._cast.start_store("kafka")
        await self._settle()
        return await self._judge()

    async def _have_ended(self, count: int) -> bool:
        return await self._count_ended() >= count

    async def _count_ended(self) -> int:
        rows = await self._cast.world.sql("SELECT count(*) AS n FROM runs WHERE status IN ('SUCCEEDED', 'FAILED')")
        return int(rows[0].n)

    async def _supervise(self) -> None:
        while True:
            for told in self._cast.start_what_ended():
                self._tell(told)
            await asyncio.sleep(0.5)

    # The jobs.

    async def _make_jobs(self) -> None:
        job = self._cast.job
        made = [
            await job("often", every=2 * SECOND, policies={"overlap": "allow"}, lines=20),
            await job("alone", every=3 * SECOND, policies={}, seconds=2, lines=5),
            await job("queues", every=4 * SECOND, policies={"overlap": "queue_one"}, seconds=3),
            await job("takes-over", every=5 * SECOND, policies={"overlap": "cancel_previous"}, seconds=6),
            await job("again", every=5 * SECOND, policies={"retry": {"attempts": 2, "delay": "1s"}}, exit=1),
            await job("twice", every=4 * SECOND, policies={"delivery": "at_least_once", "overlap": "allow"}, seconds=2),
        ]
        await eventually(self._all_enabled, timeout=60, what="the lock of the witness")
        for context_id, every in zip(made, (2.0, 3.0, 4.0, 5.0, 5.0, 4.0), strict=True):
            horizon = await self._cast.world.horizon(context_id)
            self._every[context_id] = (every, horizon.timestamp())

    async def _all_enabled(self) -> bool:
        rows = await self._cast.world.sql("SELECT state FROM contexts")
        return {r.state for r in rows} == {"enabled"}

    # What befalls them.

    async def _befall(self, name: str) -> None:
        self._faults[name] += 1
        try:
            detail = await faults.ALL[name](self._cast, self._random)
        except SQLAlchemyError as error:
            detail = f"the database was away: {str(error).splitlines()[0]}"
        self._tell(f"{name}: {detail}")

    async def _edit_for_ever(self) -> None:
        edits = (self._pause_or_resume, self._reschedule, self._trigger, self._cancel)
        while True:
            await asyncio.sleep(EDIT_EVERY_S)
            # Whether an edit was made must be known: none while the database is restarted.
            async with self._cast.store_locks["postgres"]:
                with suppress(SQLAlchemyError, triggers.Conflict):
                    await self._random.choice(edits)()

    def _some_context(self) -> UUID:
        return self._random.choice(sorted(self._every))

    async def _pause_or_resume(self) -> None:
        async with change_of_rules(self._cast.engine, author="chaos") as change:
            context = await change.session.get_one(Context, self._some_context())
            context.paused = not context.paused
            context.pause_reason = "chaos"

    async def _reschedule(self) -> None:
        context_id, every = self._some_context(), self._random.choice((2.0, 3.0, 5.0))
        async with change_of_rules(self._cast.engine, author="chaos") as change:
            await self._set_every(change, context_id, every)
        self._end_stretch(context_id, change.now)
        self._every[context_id] = (every, change.now.timestamp())

    async def _set_every(self, change: RulesChange, context_id: UUID, every: float) -> None:
        context = await change.session.get_one(Context, context_id)
        job = await change.session.get_one(Job, context.job_id)
        schedule = await change.session.scalar(select(Schedule).where(Schedule.name == f"{job.name}@prod-every"))
        assert schedule is not None
        schedule.every_ms = round(every * 1000)

    def _end_stretch(self, context_id: UUID, now: datetime) -> None:
        every, since = self._every[context_id]
        self._stretches.append(Stretch(str(context_id), every, since, now.timestamp()))

    async def _trigger(self) -> None:
        async with self._cast.engine.begin() as tx:
            await triggers.trigger(tx, context_id=self._some_context(), principal="chaos", key=str(uuid4()))

    async def _cancel(self) -> None:
        live = await self._cast.world.sql(
            "SELECT id FROM runs WHERE status IN ('PENDING', 'CLAIMED', 'LAUNCHING', 'RUNNING') ORDER BY id"
        )
        if live:
            async with self._cast.engine.begin() as tx:
                await triggers.kill(tx, self._random.choice(live).id, by="chaos")

    # The end.

    async def _settle(self) -> None:
        """All is well again, nothing more is due; returns when every run has ended."""
        for proxy in self._cast.proxies:
            proxy.heal()
        for player in self._cast.players.values():
            self._cast.resume(player)
            self._cast.start(player)
        self._tell("all is well again")
        for context_id in self._every:
            await eventually(partial(self._disable, context_id), timeout=60, what="an end of due times")
        with suppress(AssertionError):
            await eventually(self._all_ended, timeout=120, every=0.5, what="the end of all runs")
        self._tell("every run has ended" if await self._all_ended() else "some runs do not end")

    async def _disable(self, context_id: UUID) -> bool:
        """False where others were in the way, as somebody is told who edits by REST."""
        try:
            async with change_of_rules(self._cast.engine, author="chaos") as change:
                (await change.session.get_one(Context, context_id)).state = "disabled"
        except DBAPIError as error:
            if not is_passing(error):
                raise
            return False
        self._end_stretch(context_id, change.now)
        return True

    async def _all_ended(self) -> bool:
        rows = await self._cast.world.sql("SELECT DISTINCT status FROM runs")
        return {r.status for r in rows} <= ENDS

    async def _judge(self) -> Outcome:
        history = await self._history()
        findings = judge(history)

        async def no_more_to_come() -> bool:
            nonlocal history, findings
            history = await self._history()
            findings = judge(history)
            return not any(f.kind == "line_lost" for f in findings)

        if any(f.kind == "line_lost" for f in findings):
            with suppress(AssertionError):
                await eventually(no_more_to_come, timeout=60, every=2, what="the rest of the logs")
        launches = sum(1 for t in history.testimonies if t.what == "start")
        notes = [] if self._cast.disks else ["disk full was left out: it needs root, to mount a small disk"]
        notes += [] if self._cast.skewed else ["clock skew was left out: it needs libfaketime"]
        statuses = Counter(row.status for row in history.rows)
        return Outcome(self._seed, findings, self._faults, launches, statuses, notes)

    async def _history(self) -> History:
        return History(
            testimonies=read_witness(self._cast.witness_file), rows=[_row(r) for r in await self._cast.world.runs()],
            stretches=self._stretches, lines=await self._lines(),
        )  # fmt: skip

    async def _lines(self) -> dict[tuple[str, int], int]:
        """How many of the witness's lines lie where the ledger's pointers say."""
        pointers = await self._cast.world.sql("SELECT run_id, grant_no, first_seq, last_seq FROM log_pointers")
        covered: dict[tuple[str, int], set[int]] = {}
        for p in pointers:
            covered.setdefault((str(p.run_id), p.grant_no), set()).update(range(p.first_seq, p.last_seq + 1))
        frames = await self._frames()
        return {
            key: sum(payload.count(b"witness line") for seq, payload in held.items() if seq in covered.get(key, ()))
            for key, held in frames.items()
        }

    async def _frames(self) -> dict[tuple[str, int], dict[int, bytes]]:
        settings = KafkaSettings(kafka_bootstrap_servers=f"127.0.0.1:{self._cast.kafka_proxy.port}")
        found: dict[tuple[str, int], dict[int, bytes]] = {}
        with suppress(TimeoutError):
            # Two seconds without anything new: that was all.
            records = KafkaTail(settings, poll_ms=500).records([LOGS], start=Start(at="beginning"))
            while True:
                async with asyncio.timeout(3):
                    batch = await anext(records)
                for record in batch:
                    with suppress(Unreadable):
                        chunk = read_chunk(record)
                        held = found.setdefault((str(chunk.run_id), chunk.grant), {})
                        held |= {frame.seq: frame.payload for frame in chunk.frames}
        return found


def read_witness(file: Path) -> list[Heard]:
    if not file.exists():
        return []
    lines = [line.split() for line in file.read_text().splitlines()]
    return [Heard(run, int(grant), float(boot), what, int(n)) for run, grant, _, boot, what, n in lines]


def _row(row: RunRow) -> Row:
    policies = Policies.model_validate(row.policies)
    return Row(
        id=str(row.id), context=str(row.context_id), kind=row.kind, status=row.status,
        due_at=None if row.due_at is None else row.due_at.timestamp(), attempt=row.attempt,
        tries=policies.retry.attempts, at_most_once=policies.delivery == "at_most_once",
        alone=policies.overlap != "allow", range_to=None if row.range_to is None else row.range_to.timestamp(),
    )  # fmt: skip


async def storm(folder: Path, *, minutes: float, seed: int, say: Say) -> Outcome:
    """A whole chaos run in this folder, stores and all."""
    async with _played(folder) as cast:
        return await Storm(cast, seed=seed, say=say).run(minutes=minutes)


async def without_kafka(folder: Path, *, ended: int, say: Say) -> Outcome:
    """The same jobs and processes, of which only Kafka goes, for as long as `ended` runs take."""
    async with _played(folder) as cast:
        return await Storm(cast, seed=0, say=say).run_without_kafka(ended=ended)


@asynccontextmanager
async def _played(folder: Path) -> AsyncIterator[Cast]:
    cast = Cast(folder)
    try:
        await cast.open()
        await cast.enter()
        yield cast
    finally:
        await cast.close()
