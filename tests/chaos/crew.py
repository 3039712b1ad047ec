"""Real processes of Kirby over real stores, to be killed: schedulers, the worker endpoint, workers, and the witness."""

import secrets
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
from kirby.dev.parts import free_port
from kirby_api.demo.wheels import build_wheels
from kirby_common.database import connect
from kirby_common.ledger.tables import ConfigKey, WorkerToken
from kirby_common.settings import KafkaSettings
from kirby_common.worker_protocol import Hello
from sqlalchemy.ext.asyncio import AsyncSession

from tests.chaos.proxy import TcpProxy
from tests.eventually import eventually
from tests.integration.ledger.world import World
from tests.service_process import ServiceProcess

LEASE = "4s"


@dataclass(frozen=True)
class Testimony:
    run_id: str
    grant: int
    pid: int
    boot: float
    what: str


class Crew:
    """Starts services by name; each may be given failpoints."""

    def __init__(self, *, uri: str, redis: str, kafka: KafkaSettings, index: str, folder: Path) -> None:
        self.folder = folder
        self.witness_file = folder / "witness"
        self.ledger_port = free_port()
        self.uri = uri
        self._index = index
        self._services: list[ServiceProcess] = []
        self._tokens: dict[str, str] = {}
        self._common = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.kafka_bootstrap_servers,
            "KIRBY_LEASE": LEASE,
            "KIRBY_ALERT_GRACE": "1s",
            "KIRBY_TOPIC_JOB_OFFERS": f"offers-{uuid4().hex[:8]}",
        }
        self._stores = {
            "SQLALCHEMY_DATABASE_URI": uri,
            "REDIS_URL": redis,
            "SECRET_KEY": "a secret key of the tests",
            "SECURITY_PASSWORD_SALT": "a salt of the tests",
        }
        self.engine = connect(uri, application="crew", pool_size=2)
        self.world = World(self.engine)

    def _start(
        self, *command: str, env: dict[str, str], failpoint: str = "", port: int | None = None
    ) -> ServiceProcess:
        testing = {"TESTING": "1", "KIRBY_FAILPOINT": failpoint} if failpoint else {}
        service = ServiceProcess(*command, env={**self._common, **env, **testing}, folder=self.folder, port=port)
        self._services.append(service)
        return service

    def scheduler(self, name: str, *, failpoint: str = "", window: int = 1) -> ServiceProcess:
        options = ("--name", name, "--window", str(window), "--wakeup", "1")
        return self._start("scheduler", *options, env=self._stores, failpoint=failpoint)

    def ledger(self, *, failpoint: str = "", port: int | None = None) -> ServiceProcess:
        port = port or self.ledger_port
        return self._start("api", "--role", "ledger", env=self._stores, failpoint=failpoint, port=port)

    @asynccontextmanager
    async def behind_a_proxy(self, upstream: int) -> AsyncIterator[TcpProxy]:
        """The workers that are started meanwhile reach this port's endpoint, or what the proxy is led to."""
        proxy, direct = TcpProxy(free_port(), [upstream]), self.ledger_port
        await proxy.start()
        self.ledger_port = proxy.port
        try:
            yield proxy
        finally:
            self.ledger_port = direct
            await proxy.stop()

    async def worker(self, name: str, *, failpoint: str = "", pool: str = "default") -> ServiceProcess:
        env = {
            "KIRBY_SUPERVISOR_GROUP_ID": pool,
            "KIRBY_LEDGER_URL": f"http://127.0.0.1:{self.ledger_port}",
            "KIRBY_WORKER_TOKEN": await self._token(name),
            "KIRBY_WORKER_HOME": str(self.folder / f"home-{name}"),
            "KIRBY_PACKAGE_INDEX_URL": self._index,
        }
        return self._start("worker", name, env=env, failpoint=failpoint)

    async def _token(self, name: str) -> str:
        if name not in self._tokens:
            self._tokens[name] = token = secrets.token_urlsafe()
            async with AsyncSession(self.engine) as session, session.begin():
                session.add(WorkerToken(token_hash=sha256(token.encode()).hexdigest(), name=name, created_by="test"))
        return self._tokens[name]

    @asynccontextmanager
    async def played(self, name: str) -> AsyncIterator[httpx2.AsyncClient]:
        """A worker played by hand: it has said hello, and posts what the protocol says."""
        hello = Hello(
            name=name, incarnation=uuid4(), boot_id=name, home_id=uuid4(), host=name,
            version="0", platform="linux", python="3.11",
        )  # fmt: skip
        headers = {
            "Authorization": f"Bearer {await self._token(name)}", "X-Kirby-Incarnation": str(hello.incarnation),
        }  # fmt: skip
        base = f"http://127.0.0.1:{self.ledger_port}/worker/v1"
        async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=10) as client:
            (await client.post("/hello", content=hello.model_dump_json())).raise_for_status()
            yield client

    async def job(self, *, seconds: float = 0, exit_code: int = 0, **context: Any) -> UUID:
        """A context of the witness, enabled once a worker has resolved its lock."""
        context_id = await self.world.context(package=("witness", "1.0"), ready=False, **context)
        variables = {"WITNESS_FILE": self.witness_file, "WITNESS_SECONDS": seconds, "WITNESS_EXIT": exit_code}
        async with AsyncSession(self.engine) as session, session.begin():
            for name, value in variables.items():
                session.add(ConfigKey(scope="context", context_id=context_id, name=name, value=str(value)))
        return context_id

    def testimonies(self) -> list[Testimony]:
        if not self.witness_file.exists():
            return []
        lines = [line.split() for line in self.witness_file.read_text().splitlines()]
        return [Testimony(run, int(grant), int(pid), float(boot), what) for run, grant, pid, boot, what, _ in lines]

    def starts(self) -> Counter[str]:
        """How often each run was started, by the witness's word alone."""
        return Counter(t.run_id for t in self.testimonies() if t.what == "start")

    async def status(self, run_id: UUID) -> str:
        return str((await self.world.run(run_id)).status)

    async def is_status(self, run_id: UUID, expected: str) -> bool:
        return await self.status(run_id) == expected

    async def all_end(self, context_id: UUID, *, timeout: float = 30) -> None:
        ended = {"SUCCEEDED", "FAILED", "KILLED", "LOST", "MISSED", "SKIPPED", "CANCELLED"}

        async def over() -> bool:
            return all(r.status in ended for r in await self.world.runs(context_id))

        await eventually(over, timeout=timeout, what="the end of all runs")

    async def stop(self) -> None:
        for service in reversed(self._services):
            if service.process.poll() is None:
                service.kill()
        await self.engine.dispose()
        await eventually(lambda: not self._strays(), timeout=15, what="the end of shims and scripts")

    def _strays(self) -> bool:
        found = subprocess.run(["pgrep", "-f", str(self.folder)], capture_output=True, check=False)
        return found.returncode == 0

    async def logs(self) -> str:
        return "\n".join(f"== {s.log_file.name}\n{s.log[-3000:]}" for s in self._services)


@asynccontextmanager
async def assembled(
    *, uri: str, redis: str, kafka: KafkaSettings, index: str, upload: str, password: str, folder: Path
) -> AsyncIterator[Crew]:
    await publish_witness(upload, password, folder)
    crew = Crew(uri=uri, redis=redis, kafka=kafka, index=index, folder=folder)
    try:
        yield crew
    finally:
        await crew.stop()
        shutil.rmtree(folder / "wheels", ignore_errors=True)


async def publish_witness(upload: str, password: str, folder: Path) -> None:
    """Uploads the witness as twine does; that it is there already is fine."""
    (wheel,) = build_wheels(folder / "wheels", packages=Path(__file__).parent)
    form = {":action": "file_upload", "name": "witness", "version": "1.0", "filetype": "bdist_wheel"}
    async with httpx2.AsyncClient(auth=("kirby", password)) as client:
        answer = await client.post(upload, data=form, files={"content": (wheel.name, wheel.read_bytes())})
        assert answer.status_code in {200, 409}, answer.text
