"""The running worker: its parts wired together, and its life from the adoption to the drain."""

import asyncio
import os
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import structlog
from kirby_common import topics
from kirby_common.clock import Clock
from kirby_common.consumer import DeadLetters
from kirby_common.kafka import KafkaBus, KafkaTail, KafkaTopicAdmin
from kirby_common.runtime import ComponentEnded, Health
from kirby_common.worker_protocol import BeatAnswer, Bye, HeldAttempt

from kirby_worker.adapters.beats import Heart
from kirby_worker.adapters.endpoint import BeatClient, Credentials, HttpEndpoint, Unavailable
from kirby_worker.adapters.home import Home
from kirby_worker.adapters.memory import memory
from kirby_worker.adapters.shims import ShimPool
from kirby_worker.adapters.uv import Index, Uv
from kirby_worker.adapters.vault import HttpVault
from kirby_worker.adapters.venvs import Venvs
from kirby_worker.adopting import Adopter
from kirby_worker.arming import Armoury
from kirby_worker.caring import Carer
from kirby_worker.claiming import Claimer, Offers
from kirby_worker.desk import Desk, Signs
from kirby_worker.discovery import Places
from kirby_worker.domain.capacity import Limits
from kirby_worker.domain.environment import Surroundings, inherited_from
from kirby_worker.draining import drain
from kirby_worker.housekeeping import Housekeeper
from kirby_worker.launching import Launcher
from kirby_worker.locks import LockWorker
from kirby_worker.preparing import Preparer, RunAs, ScriptRules
from kirby_worker.reporting import Reporter
from kirby_worker.settings import WorkerSettings

log = structlog.get_logger()

_BEAT_TIMEOUT_SHARE = 0.25


@dataclass(frozen=True)
class Resources:
    """What the worker is given at its start."""

    settings: WorkerSettings
    home: Home
    places: Places
    credentials: Credentials
    client: httpx2.AsyncClient
    endpoint: HttpEndpoint
    bus: KafkaBus
    clock: Clock
    health: Health


class Worker:
    def __init__(self, given: Resources, *, lease_s: float) -> None:
        self._given = given
        self._lease_s = lease_s
        settings, home = given.settings, given.home
        self._limits = Limits(places=settings.kirby_places, running=settings.kirby_max_running)
        self._uv = Uv(_index(settings, given.places), cache=_cache(home), environ=os.environ)
        self._venvs = Venvs(
            home.venvs,
            uv=self._uv,
            readable_by_all=settings.kirby_run_as is not None,
            on_gone=lambda venv: self._armoury.pairs.end_those_of(venv),
        )
        self._rules = _script_rules(settings, lease_s=lease_s)
        self._pool = ShimPool(
            warm=settings.kirby_warm_shims, lifeline=settings.kirby_lifeline_fd, errors=home.path / "shims.log"
        )
        self._heart = self._make_heart()
        self._desk = Desk(
            home=home,
            clock=given.clock,
            lease_s=lease_s,
            tell=lambda fact: self._reporter.tell(fact),
            beat_now=self._heart.beat_now,
            show=self._show,
        )
        self._armoury = Armoury(
            self._pool,
            self._desk,
            most=settings.kirby_armed,
            pairs=settings.kirby_warm_interpreters,
            manner=self._rules.manner(),
            memory=memory,
            clock=given.clock,
        )
        self._reporter = Reporter(given.endpoint, clock=given.clock, on_settled=self._desk.settled)
        self._secrets = HttpVault(given.client, url=given.places.vault)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last_beat = given.clock.boot()

    def tool_pids(self) -> Sequence[int]:
        """The processes below this one that watch no lifeline themselves."""
        return sorted(self._uv.pids)

    async def run(self, stop: asyncio.Event, inherited: Sequence[HeldAttempt]) -> None:
        """Adopts, works, and drains once `stop` is set."""
        self._given.health.add("ledger", self._ledger_check)
        work = asyncio.create_task(self._work(inherited), name="work")
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._drain(work)
            if work.done() and not work.cancelled():
                work.result()
        finally:
            stopped.cancel()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            self._heart.stop()
            self._armoury.pairs.close()
            self._pool.close()

    async def _drain(self, work: asyncio.Task[None]) -> None:
        empty = await drain(self._desk, self._reporter, clock=self._given.clock)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        if empty:
            self._heart.stop()
            try:
                await self._given.endpoint.bye(Bye(incarnation=self._given.credentials.incarnation))
            except Unavailable as error:
                log.warning("worker.no_bye", reason=str(error))

    async def _work(self, inherited: Sequence[HeldAttempt]) -> None:
        given = self._given
        async with asyncio.TaskGroup() as group:
            housekeeper = Housekeeper(
                pool=self._pool,
                uv=self._uv,
                venvs=self._venvs,
                desk=self._desk,
                keep_venvs=given.settings.kirby_venv_keep,
                clock=given.clock,
            )
            carer = self._make_carer(group, housekeeper)
            self._desk.care = carer.take
            self._venvs.clear_leftovers()
            adopter = Adopter(home=given.home, desk=self._desk, carer=carer, clock=given.clock)
            self._heart.start()
            group.create_task(self._reporter.run(), name="reports")
            await adopter.adopt_all(inherited)
            given.health.started = True
            for name, component in self._components(housekeeper).items():
                group.create_task(_endless(name, component), name=name)

    def _components(self, housekeeper: Housekeeper) -> dict[str, Coroutine[Any, Any, None]]:
        given = self._given
        settings = given.settings
        claimer = Claimer(
            given.endpoint,
            self._desk,
            home=given.home,
            venvs=self._venvs,
            limits=self._limits,
            pool=settings.kirby_supervisor_group_id,
            clock=given.clock,
            labels=settings.labels,
        )
        prefix = settings.kirby_topic_job_offers
        offers = Offers(
            KafkaTail(settings),
            topics=(topics.scheduled_offers(prefix), topics.daemon_offers(prefix)),
            claimer=claimer,
            desk=self._desk,
            letters=DeadLetters(given.bus, service="worker"),
        )
        return {
            "claims": claimer.run(),
            "offers": offers.run(),
            "launches": Launcher(given.endpoint, self._desk, limits=self._limits, clock=given.clock).run(),
            "locks": LockWorker(
                given.endpoint, uv=self._uv, venvs=self._venvs, desk=self._desk, wanted=claimer.locks
            ).run(),
            "shims": self._pool.keep_warm(),
            "pairs": self._armoury.pairs.run(),
            "housekeeping": housekeeper.run(),
            "topics": self._see_to_topics(),
            "incarnation": self._until_gone(),
        }

    def _make_carer(self, group: asyncio.TaskGroup, housekeeper: Housekeeper) -> Carer:
        given = self._given
        preparer = Preparer(home=given.home, venvs=self._venvs, secrets=self._secrets, rules=self._rules)
        return Carer(
            group,
            desk=self._desk,
            home=given.home,
            armoury=self._armoury,
            preparer=preparer,
            secrets=self._secrets,
            bus=given.bus,
            clock=given.clock,
            on_shim_lost=housekeeper.tidy,
        )

    def _make_heart(self) -> Heart:
        given = self._given
        client = BeatClient(
            ledger_url=given.places.ledger,
            credentials=given.credentials,
            timeout_s=max(0.5, self._lease_s * _BEAT_TIMEOUT_SHARE),
        )
        return Heart(
            client,
            lease_s=self._lease_s,
            clock=given.clock,
            loop=asyncio.get_running_loop(),
            on_answer=self._on_beat,
            on_gone=self._on_gone,
        )

    def _on_beat(self, answer: BeatAnswer, sent_at: float) -> None:
        self._last_beat = sent_at
        self._desk.on_beat(answer, sent_at)

    def _on_gone(self, error: Exception) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _until_gone(self) -> None:
        await self._failed

    def _show(self, signs: Signs) -> None:
        self._heart.say(attempts=signs.attempts, spools=signs.spools, usage={"load1": os.getloadavg()[0]})

    async def _ledger_check(self) -> str | None:
        silent = self._given.clock.boot() - self._last_beat
        return f"the ledger has not answered a beat for {silent:.0f} s" if silent > self._lease_s else None

    async def _see_to_topics(self) -> None:
        """Sees to the topics once Kafka is there; runs never wait for that."""
        settings = self._given.settings
        wanted = topics.registry(
            offers_prefix=settings.kirby_topic_job_offers, log_retention=settings.kirby_log_retention
        )
        await KafkaTopicAdmin(settings).wait_and_ensure(wanted)
        await asyncio.Event().wait()


async def _endless(name: str, component: Coroutine[Any, Any, None]) -> None:
    await component
    raise ComponentEnded(f"{name} returned")


def _index(settings: WorkerSettings, places: Places) -> Index:
    password = settings.kirby_package_index_password
    return Index.of(
        private_url=places.index,
        username=settings.kirby_package_index_username,
        password=password.get_secret_value() if password else None,
        public_url=settings.kirby_public_index_url,
    )


def _cache(home: Home) -> Path | None:
    """uv's own cache, unless it lies on another disk, from where nothing could be linked."""
    if "UV_CACHE_DIR" in os.environ:
        return None
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    same_disk = base.exists() and base.stat().st_dev == home.path.stat().st_dev
    return None if same_disk else home.path / "cache"


def _script_rules(settings: WorkerSettings, *, lease_s: float) -> ScriptRules:
    return ScriptRules(
        around=_surroundings(settings),
        nice=settings.kirby_script_nice,
        spool_limit=settings.kirby_spool_limit,
        lease_s=lease_s,
        run_as=RunAs.named(settings.kirby_run_as) if settings.kirby_run_as else None,
    )


def _surroundings(settings: WorkerSettings) -> Surroundings:
    kafka = {"KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers}
    if settings.kafka_use_ssl:
        kafka["KAFKA_USE_SSL"] = "true"
        files = {
            "KAFKA_SSL_CAFILE": settings.kafka_ssl_cafile,
            "KAFKA_SSL_CERTFILE": settings.kafka_ssl_certfile,
            "KAFKA_SSL_KEYFILE": settings.kafka_ssl_keyfile,
        }
        kafka |= {name: str(path) for name, path in files.items() if path}
    return Surroundings(
        url=settings.base_url,
        kafka=kafka,
        objects=settings.kirby_objects_url,
        inherited=inherited_from(os.environ),
        path=os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
    )
