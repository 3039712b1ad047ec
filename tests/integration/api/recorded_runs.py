"""Runs as a worker would leave them: rows in the ledger, chunks on Kafka, pointers of the recorder."""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID, uuid4

from kirby_api.ledger_role.recorder import Recorder
from kirby_api.resources import Resources
from kirby_common.kafka import KafkaBus, KafkaTail
from kirby_common.ledger import outbox
from kirby_common.ledger.runs import change_event
from kirby_common.ledger.tables import Attempt, Context, Environment, Job, Run
from kirby_common.logchunks import CONT, END, OPEN, STDOUT, Frame
from kirby_common.topics import LOGS
from sqlalchemy import insert, text

from tests.eventually import eventually


@dataclass
class Script:
    """Prints as one attempt: frames in order, each chunk one Kafka message."""

    bus: KafkaBus
    run_id: UUID
    grant: int = 1
    seq: int = 0
    line: int = 1
    open_line: dict[int, int] = field(default_factory=dict)

    async def prints(self, *chunks: bytes, stream: int = STDOUT) -> None:
        for payload in chunks:
            await self.send([self._frame(payload, stream)])

    async def ends(self) -> None:
        frame = Frame(self.seq, time.time_ns(), self.line, 0, 0, STDOUT, END, b"")
        self.seq += 1
        await self.send([frame])

    async def send(self, frames: list[Frame]) -> None:
        value = b"".join(frame.encode() for frame in frames)
        headers = {
            "grant": str(self.grant).encode(),
            "first": str(frames[0].seq).encode(),
            "last": str(frames[-1].seq).encode(),
            "sha256": sha256(value).hexdigest().encode(),
        }
        await self.bus.send(LOGS, key=str(self.run_id).encode(), value=value, headers=headers)

    def _frame(self, payload: bytes, stream: int) -> Frame:
        cont = self.open_line.pop(stream, 0)
        parts = payload.removesuffix(b"\n").split(b"\n")
        begins = len(parts) - (1 if cont else 0)
        flags = (CONT if cont else 0) | (0 if payload.endswith(b"\n") else OPEN)
        made = Frame(self.seq, time.time_ns(), self.line, cont, begins, stream, flags, payload)
        self.seq += 1
        self.line += begins
        if flags & OPEN:
            self.open_line[stream] = cont if not begins else self.line - 1
        return made


async def started_run(parts: Resources, *, job: str = "weather", env: str = "prod") -> UUID:
    """A run that is RUNNING its first attempt."""
    run_id = uuid4()
    async with parts.sessions.begin() as db:
        environment, made = Environment(name=env, topic_prefix=""), Job(name=job, type="scheduled", namespace="demo")
        db.add_all([environment, made])
        await db.flush()
        context = Context(job_id=made.id, environment_id=environment.id)
        db.add(context)
        await db.flush()
        now = text("clock_timestamp()")
        await db.execute(
            insert(Run).values(
                id=run_id, status="RUNNING", kind="manual", key=str(run_id), context_id=context.id, job_id=made.id,
                environment_id=environment.id, job=job, env=env, namespace="demo", package_name="weather",
                package_version="1.0", fire_at=now, grant=1, attempt=1, started_at=now, policies={},
            )
        )  # fmt: skip
    await add_attempt(parts, run_id, grant=1)
    return run_id


async def add_attempt(parts: Resources, run_id: UUID, *, grant: int) -> None:
    now = text("clock_timestamp()")
    async with parts.sessions.begin() as db:
        await db.execute(
            insert(Attempt).values(
                run_id=run_id, grant=grant, attempt=grant, status="RUNNING", worker="w", incarnation=uuid4(), host="h",
                boot_id="b", claim_id=uuid4(), launching_at=now, started_at=now,
            )
        )  # fmt: skip


async def end_run(parts: Resources, script: Script, *, status: str = "SUCCEEDED") -> None:
    """The end report: what the shim counted is in the ledger, whether or not the chunks are on Kafka yet."""
    log = f'{{"lines": {script.line - 1}, "bytes": 1, "last_seq": {script.seq - 1}, "sha256": "x"}}'
    async with parts.sessions.begin() as db:
        await db.execute(
            text("UPDATE attempts SET log = cast(:log AS jsonb), open = false WHERE run_id = :id AND grant_no = :g"),
            {"log": log, "id": script.run_id, "g": script.grant},
        )
        await db.execute(
            text("UPDATE runs SET status = :s, ended_at = clock_timestamp(), rev = rev + 1 WHERE id = :id"),
            {"s": status, "id": script.run_id},
        )
        run = (await db.execute(text("SELECT * FROM runs WHERE id = :id"), {"id": script.run_id})).one()
        await outbox.put_all(db, [change_event(run, previous="RUNNING")])
    parts.relay.wake()


@asynccontextmanager
async def recording(parts: Resources):  # type: ignore[no-untyped-def]
    """The recorder at work."""
    task = asyncio.create_task(Recorder(parts.engine, KafkaTail(parts.settings), holder=uuid4()).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def recorded(parts: Resources, script: Script) -> None:
    """Waits until the recorder has pointed to all that the script printed."""

    async def covered() -> bool:
        async with parts.sessions() as db:
            query = text("SELECT max(last_seq) FROM log_pointers WHERE run_id = :id AND grant_no = :g")
            return bool(await db.scalar(query, {"id": script.run_id, "g": script.grant}) == script.seq - 1)

    await eventually(covered, timeout=20)
