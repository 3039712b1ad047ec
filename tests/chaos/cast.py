"""All processes of a chaos run: stores of its own, services in front of them, a proxy on every way between."""

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from kirby.dev.folders import home_folder, private_folder
from kirby.dev.index import IndexPart
from kirby.dev.kafka import KafkaPart
from kirby.dev.parts import Part, free_port
from kirby.dev.postgres import PostgresPart
from kirby.dev.processes import Running, spawn, start_together, stop_all
from kirby.dev.redis import RedisPart
from kirby_common.database import connect
from kirby_common.ledger import schema
from kirby_common.ledger.tables import ConfigKey, WorkerToken
from sqlalchemy.ext.asyncio import AsyncSession

from tests.chaos.crew import publish_witness
from tests.chaos.proxy import TcpProxy
from tests.eventually import eventually
from tests.integration.ledger.world import World
from tests.service_process import ServiceProcess

LEASE_S = 2.0
SKEW = "+2h"
_FAKETIME = Path(f"/usr/lib/{os.uname().machine}-linux-gnu/faketime/libfaketime.so.1")
_PASSWORD = "chaos-index"
# The server is killed, the machine is not: what was committed must lie with the kernel, not on the disk.
_FAST = {"fsync": "off", "synchronous_commit": "on", "full_page_writes": "off"}


class ProxiedKafka(KafkaPart):
    """Tells its clients the proxy's address: they come back to that one for everything."""

    def __init__(self, folder: Path, *, port: int, controller_port: int, advertised: int) -> None:
        super().__init__(folder, port=port, controller_port=controller_port, heap_mb=256)
        self._advertised = advertised

    def _properties(self) -> str:
        ours = f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}\n"
        return super()._properties().replace(ours, f"advertised.listeners=PLAINTEXT://127.0.0.1:{self._advertised}\n")


@dataclass
class Player:
    """A service that is killed, stopped and started anew, always under its name."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str]
    port: int
    process: ServiceProcess | None = None
    killed: bool = False
    stopped: list[psutil.Process] = field(default_factory=list)

    @property
    def pid(self) -> int | None:
        return None if self.process is None or self.process.process.poll() is not None else self.process.process.pid


class Cast:
    """Three scheduler candidates, two ledger roles, four workers, and their stores."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.witness_file = folder / "witness"
        self.home = home_folder(Path(tempfile.mkdtemp(prefix="kirby-chaos-")))
        self.kafka_proxy = TcpProxy(free_port(), [])
        self.kafka = ProxiedKafka(
            self.home / "kafka", port=free_port(), controller_port=free_port(), advertised=self.kafka_proxy.port
        )
        self.kafka_proxy = TcpProxy(self.kafka_proxy.port, [self.kafka.port])
        self.postgres = PostgresPart(self.home / "postgres", port=free_port(), password="chaos", extra=_FAST)
        self.redis = RedisPart(self.home / "redis", port=free_port())
        self.index = IndexPart(self.home / "index", port=free_port(), password=_PASSWORD)
        self.postgres_proxy = TcpProxy(free_port(), [self.postgres.port])
        self.ledger_ports = [free_port(), free_port()]
        self.worker_proxies = [TcpProxy(free_port(), self.ledger_ports) for _ in range(4)]
        self.stores: dict[str, Running] = {}
        self.store_locks = {name: asyncio.Lock() for name in ("kafka", "postgres", "redis")}
        self.players: dict[str, Player] = {}
        self.disks: list[Path] = []

    @property
    def proxies(self) -> Sequence[TcpProxy]:
        return [self.kafka_proxy, self.postgres_proxy, *self.worker_proxies]

    # Stores.

    async def open(self) -> None:
        """Starts the stores and the proxies; the world's engine goes past them."""
        parts: list[Part] = [self.kafka, self.postgres, self.redis, self.index]
        started = start_together(parts, logs=private_folder(self.home / "logs"))
        self.stores = {running.part.name: running for running in started}
        for proxy in self.proxies:
            await proxy.start()
        self.engine = connect(self.postgres.uri(), application="chaos", pool_size=3)
        await schema.prepare(self.engine)
        self.world = World(self.engine)
        await publish_witness(self.index.upload_url, _PASSWORD, self.folder)

    def kill_store(self, name: str, signum: int = signal.SIGKILL) -> None:
        running = self.stores.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(running.process.pid, signum)
        running.process.wait()

    async def start_store(self, name: str) -> None:
        """Returns once it answers. The loop runs on meanwhile: the proxies live in it."""
        parts: dict[str, Part] = {"kafka": self.kafka, "postgres": self.postgres, "redis": self.redis}
        part = parts[name]
        launch, log = part.launch(), self.home / "logs" / f"{name}.log"
        self.stores[name] = Running(part, spawn(launch, log=log), launch, log)
        await eventually(lambda: asyncio.to_thread(part.is_ready), timeout=60, every=0.1, what=f"{name} again")

    # Players.

    async def enter(self) -> None:
        """Puts everybody on stage but the schedulers."""
        for number, port in enumerate(self.ledger_ports):
            self._add(f"ledger{number}", ("api", "--role", "ledger"), self._store_env(), port)
        for number, proxy in enumerate(self.worker_proxies):
            await self._add_worker(f"worker{number}", proxy, skewed=number == 3, small_disk=number == 2)
        for player in self.players.values():
            self.start(player)

    def enter_schedulers(self) -> None:
        for number in range(3):
            name = f"scheduler{number}"
            command = ("scheduler", "--name", name, "--window", "2", "--wakeup", "1")
            env = self._store_env() | (self._skew("-2h") if number == 2 else {})
            self.start(self._add(name, command, env, free_port()))

    def _add(self, name: str, command: tuple[str, ...], env: dict[str, str], port: int) -> Player:
        self.players[name] = Player(name, command, env, port)
        return self.players[name]

    def _common(self) -> dict[str, str]:
        return {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{self.kafka_proxy.port}", "KIRBY_LEASE": f"{LEASE_S:g}s"}

    def _store_env(self) -> dict[str, str]:
        uri = self.postgres.uri().replace(f":{self.postgres.port}/", f":{self.postgres_proxy.port}/")
        return self._common() | {
            "SQLALCHEMY_DATABASE_URI": uri, "REDIS_URL": self.redis.url,
            "SECRET_KEY": "a secret key of the chaos", "SECURITY_PASSWORD_SALT": "a salt of the chaos",
        }  # fmt: skip

    async def _add_worker(self, name: str, proxy: TcpProxy, *, skewed: bool, small_disk: bool) -> None:
        token = secrets.token_urlsafe()
        async with AsyncSession(self.engine) as session, session.begin():
            session.add(WorkerToken(token_hash=sha256(token.encode()).hexdigest(), name=name, created_by="chaos"))
        home = self.folder / f"home-{name}"
        if small_disk and self._mount(home):
            self.disks.append(home)
        env = self._common() | {
            "KIRBY_LEDGER_URL": f"http://127.0.0.1:{proxy.port}", "KIRBY_WORKER_TOKEN": token,
            "KIRBY_WORKER_HOME": str(home), "KIRBY_PACKAGE_INDEX_URL": self.index.url,
        }  # fmt: skip
        self._add(name, ("worker", name), env | (self._skew(SKEW) if skewed else {}), free_port())

    def _mount(self, folder: Path) -> bool:
        """A disk so small that it can be filled: a tmpfs, which needs root."""
        folder.mkdir(mode=0o700)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "chaos", str(folder)], capture_output=True, check=False
        )
        return done.returncode == 0

    def _skew(self, by: str) -> dict[str, str]:
        """A wall clock that is wrong; the boot-time clock stays right."""
        if not _FAKETIME.exists():
            return {}
        return {"LD_PRELOAD": str(_FAKETIME), "FAKETIME": by, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    @property
    def skewed(self) -> bool:
        return _FAKETIME.exists()

    def start(self, player: Player) -> None:
        player.killed = False
        if player.pid is None:
            player.process = ServiceProcess(*player.command, env=player.env, folder=self.folder, port=player.port)
            if player.env.get("FAKETIME", "").startswith("-"):
                # Its librdkafka waits for instants that are past already, so it would take a core from all others.
                psutil.Process(player.process.process.pid).nice(10)

    def named(self, stem: str) -> list[Player]:
        return [p for name, p in sorted(self.players.items()) if name.startswith(stem)]

    def kill(self, player: Player) -> None:
        player.killed = True
        if player.process is not None:
            player.process.kill()

    def start_what_ended(self) -> list[str]:
        """As a supervisor does: starts those anew that ended by themselves, and says which."""
        ended = [p for p in self.players.values() if p.process is not None and p.pid is None and not p.killed]
        told = [f"{p.name} ended by itself with {p.process.process.returncode}" for p in ended if p.process]
        for player in ended:
            self.start(player)
        return told

    def below(self, player: Player) -> list[psutil.Process]:
        """What descends from the player: a worker's shims and their scripts."""
        if player.pid is None:
            return []
        with suppress(psutil.NoSuchProcess):
            return list(psutil.Process(player.pid).children(recursive=True))
        return []

    def pause(self, player: Player, *, with_below: bool) -> None:
        found = [psutil.Process(player.pid)] if player.pid is not None else []
        found += self.below(player) if with_below else []
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        player.stopped += found

    def resume(self, player: Player) -> None:
        while player.stopped:
            with suppress(psutil.NoSuchProcess):
                player.stopped.pop().resume()

    async def leader(self) -> Player | None:
        rows = await self.world.sql("SELECT name FROM leader")
        return self.players.get(rows[0].name) if rows else None

    # Jobs.

    async def job(self, name: str, *, every: timedelta, policies: dict[str, Any], **witness: object) -> UUID:
        context_id = await self.world.context(
            job=name, package=("witness", "1.0"), ready=False, every=every, policies=policies
        )
        variables = {"WITNESS_FILE": self.witness_file} | {f"WITNESS_{k.upper()}": v for k, v in witness.items()}
        async with AsyncSession(self.engine) as session, session.begin():
            for key, value in variables.items():
                session.add(ConfigKey(scope="context", context_id=context_id, name=key, value=str(value)))
        return context_id

    # The end.

    async def close(self) -> None:
        for player in self.players.values():
            self.resume(player)
            self.kill(player)
        with suppress(AttributeError):
            await self.engine.dispose()
        for proxy in self.proxies:
            await proxy.stop()
        await eventually(lambda: not self._strays(), timeout=20, what="the end of shims and scripts")
        stop_all(list(self.stores.values()))
        self._unmount()
        shutil.rmtree(self.home, ignore_errors=True)

    def _unmount(self) -> None:
        for disk in self.disks:
            subprocess.run(["umount", "-l", str(disk)], check=False)

    def _strays(self) -> bool:
        return subprocess.run(["pgrep", "-f", str(self.folder)], capture_output=True, check=False).returncode == 0
