"""The real worker as a process, against the real ledger endpoint and recorder, Kafka, PostgreSQL and index."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from kirby.dev.index import IndexPart
from kirby_api.ledger_role.endpoint import WorkerEndpoint
from kirby_api.ledger_role.recorder import Recorder
from kirby_common.kafka import KafkaBus, KafkaTail, KafkaTopicAdmin
from kirby_common.ledger import triggers
from kirby_common.ledger.outbox import OutboxRelay
from kirby_common.ledger.waiting import Doorkeeper
from kirby_common.logchunks import Frame, frames
from kirby_common.ports import Start
from kirby_common.runtime import http_server, listen
from kirby_common.settings import KafkaSettings
from kirby_common.topics import LOGS, registry
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.eventually import eventually
from tests.integration.ledger.world import World
from tests.integration.worker.wheels import wheel

LEASE = timedelta(seconds=4)
TOKEN = "kirbyw_test"
TERMINAL = {"SUCCEEDED", "FAILED", "KILLED", "LOST", "MISSED", "SKIPPED", "CANCELLED"}


class LedgerApp:
    """The api's ledger role on a fixed port; may be taken away and brought back."""

    def __init__(self, world: World, kafka: KafkaSettings, prefix: str) -> None:
        self.world = world
        self.kafka = kafka
        self.prefix = prefix
        self._socket = listen("127.0.0.1", 0)
        self.port = int(self._socket.getsockname()[1])
        self._socket.close()
        self.secrets: dict[str, dict[str, str]] = {}
        self.before: dict[str, asyncio.Event] = {}
        self.after: dict[str, asyncio.Event] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with KafkaBus(self.kafka) as bus:
            relay = OutboxRelay(self.world.engine, bus)
            doorkeeper = Doorkeeper(self.world.engine, relay, offers_prefix=self.prefix)
            endpoint = WorkerEndpoint(
                self.world.engine, relay, doorkeeper, secret_key="k", lease=LEASE, offers_prefix=self.prefix
            )
            routes = [
                Route("/api/v1/endpoints", self._endpoints),
                Route("/v1/run-secrets/{path:path}", self._secret),
                endpoint.routes(),
            ]
            keeping = asyncio.gather(relay.run(), doorkeeper.run())
            try:
                app = self._slowed(Starlette(routes=routes))
                async with http_server(app, bound=listen("127.0.0.1", self.port)):
                    yield
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    def _slowed(self, app: ASGIApp) -> ASGIApp:
        """Requests and answers of some paths wait for an event: the network is like that."""

        async def slowed(scope: Scope, receive: Receive, send: Send) -> None:
            path = scope.get("path", "").rpartition("/")[2]
            if path in self.before:
                await self.before[path].wait()

            async def late(message: Message) -> None:
                if path in self.after and message["type"] == "http.response.start":
                    await self.after[path].wait()
                await send(message)

            await app(scope, receive, late)

        return slowed

    async def _endpoints(self, _: Request) -> Response:
        return JSONResponse({"ledger": self.url, "index": None, "vault": self.url})

    async def _secret(self, request: Request) -> Response:
        path = request.path_params["path"]
        if not request.headers["authorization"].startswith("Bearer ey"):
            return JSONResponse({"detail": "no token"}, 403)
        if path not in self.secrets:
            return JSONResponse({"detail": f"there is no secret {path}"}, 404)
        return JSONResponse({"path": path, "version": 1, "data": self.secrets[path]})


@dataclass
class WorkerProcess:
    """`kirby worker NAME` and what it said on stderr."""

    process: subprocess.Popen[bytes]
    errors: Path
    name: str

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    async def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self, *, timeout: float = 30) -> int:
        """The exit code; the loop, in which the ledger is served, goes on meanwhile."""
        return await asyncio.to_thread(self.process.wait, timeout)

    def said(self) -> str:
        return self.errors.read_text()


@dataclass
class WorkerSuite:
    world: World
    ledger: LedgerApp
    kafka: KafkaSettings
    index: IndexPart
    folder: Path
    cache: Path
    started: list[WorkerProcess] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def environment(self, **changes: str) -> dict[str, str]:
        own = {
            "KIRBY_URL": self.ledger.url,
            "KIRBY_WORKER_HOME": str(self.home),
            "KIRBY_WORKER_TOKEN": TOKEN,
            "KIRBY_PACKAGE_INDEX_URL": self.index.url,
            "KIRBY_PUBLIC_INDEX_URL": "none",
            "KIRBY_HEALTH_PORT": "0",
            "KIRBY_TOPIC_JOB_OFFERS": self.ledger.prefix,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.kafka_bootstrap_servers,
            "KIRBY_OBJECTS_URL": "s3://states-of-tests",
            "UV_CACHE_DIR": str(self.cache),
            "SECRET_KEY": "must-not-leak",
        }
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TZ": "UTC"} | own | changes

    async def start(self, name: str = "w1", **changes: str) -> WorkerProcess:
        """Starts a worker without waiting for it."""
        await self.world.sql(
            "INSERT INTO worker_tokens (token_hash, name, created_by) VALUES (:hash, :name, 'test')"
            " ON CONFLICT DO NOTHING",
            hash=sha256(TOKEN.encode()).hexdigest(), name=name,
        )  # fmt: skip
        return self.spawn(name, **changes)

    def spawn(self, name: str, **changes: str) -> WorkerProcess:
        """The process, with a token that the ledger need not know."""
        errors = self.folder / f"worker-{len(self.started)}.log"
        command = [sys.executable, "-m", "kirby.cli.main", "worker", name]
        with errors.open("wb") as file:
            process = subprocess.Popen(command, env=self.environment(**changes), stderr=file, stdout=file)
        worker = WorkerProcess(process, errors, name)
        self.started.append(worker)
        return worker

    async def context(self, name: str, source: str, **options: Any) -> UUID:
        """A job whose package has one module, which is resolved and built by the worker."""
        extra = {key: options.pop(key) for key in ("requires", "requires_python", "scripts") if key in options}
        wheel(self.index.packages, f"{name}-prod", {f"{name.replace('-', '_')}_prod.py": source}, **extra)
        return await self.world.context(job=name, ready=False, **options)

    async def enabled(self, context_id: UUID, *, timeout: float = 60) -> None:
        async def state() -> bool:
            (row,) = await self.world.sql("SELECT state FROM contexts WHERE id = :id", id=context_id)
            return str(row.state) == "enabled"

        await eventually(state, timeout=timeout, what="an enabled context")

    async def reason(self, context_id: UUID) -> str:
        (row,) = await self.world.sql("SELECT state_reason FROM contexts WHERE id = :id", id=context_id)
        return str(row.state_reason)

    async def trigger(self, context_id: UUID, **options: Any) -> UUID:
        async with AsyncSession(self.world.engine) as session, session.begin():
            triggered = await triggers.trigger(
                session, context_id=context_id, principal="test", key=str(uuid4()), offers_prefix=self.ledger.prefix,
                **options,
            )  # fmt: skip
        return triggered.run_id

    async def status(self, run_id: UUID, *wanted: str, timeout: float = 40) -> Any:
        """The run, once it has one of the statuses (or any final one)."""

        async def reached() -> Any:
            run = await self.world.run(run_id)
            if run.status in (wanted or TERMINAL):
                return run
            assert run.status not in TERMINAL, f"{run.status}: {run.reason}"
            return None

        return await eventually(reached, timeout=timeout, every=0.05, what=f"{wanted or 'the end'} of {run_id}")

    async def log(self, run_id: UUID, *, grant: int = 1, timeout: float = 60) -> list[Frame]:
        """The attempt's frames from Kafka, each once, up to END."""
        found: dict[int, Frame] = {}
        async with asyncio.timeout(timeout):
            async for records in KafkaTail(self.kafka, poll_ms=50).records([LOGS], start=Start(at="beginning")):
                for record in records:
                    if record.key != str(run_id).encode() or record.headers["grant"] != str(grant).encode():
                        continue
                    assert sha256(record.value or b"").hexdigest().encode() == record.headers["sha256"]
                    found |= {f.seq: f for f in frames(record.value or b"")}
                if found and found[max(found)].flags & 4 and len(found) == max(found) + 1:
                    return [found[seq] for seq in sorted(found)]
        raise AssertionError("the log did not end")

    async def text(self, run_id: UUID, **options: Any) -> str:
        return b"".join(f.payload for f in await self.log(run_id, **options) if f.stream == 1).decode()


@asynccontextmanager
async def worker_suite(
    world: World,
    kafka: KafkaSettings,
    index: IndexPart,
    *,
    folder: Path,
    prefix: str,
) -> AsyncIterator[WorkerSuite]:
    """Everything but the worker; workers and whatever they left are ended with it."""
    await KafkaTopicAdmin(kafka).ensure(registry(offers_prefix=prefix))
    ledger = LedgerApp(world, kafka, prefix)
    suite = WorkerSuite(world, ledger, kafka, index, folder, folder.parent / "uv-cache")
    recorder = Recorder(world.engine, KafkaTail(kafka, poll_ms=50), holder=uuid4())
    recording = asyncio.create_task(recorder.run())
    try:
        yield suite
    finally:
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)
        for worker in suite.started:
            if worker.process.poll() is None:
                worker.kill()
        end_shims(suite.home)


def end_shims(home: Path) -> None:
    """Ends the shims of the home that a test has left behind, and with them their scripts."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            if os.readlink(f"/proc/{pid}/cwd").startswith(f"{home}/runs/"):
                os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
