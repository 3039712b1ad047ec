"""The scheduler's composition root: the only module that names adapters."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from uuid import uuid4

import structlog
from kirby_common.clock import SystemClock
from kirby_common.database import connect
from kirby_common.kafka import KafkaBus, KafkaTopicAdmin
from kirby_common.kafka_groups import KafkaGroups
from kirby_common.kafka_offsets import KafkaOffsets
from kirby_common.ledger.outbox import OutboxRelay
from kirby_common.ledger.schema import prepare
from kirby_common.redis_lock import RedisLock
from kirby_common.runtime import Health, health_app, http_server, listen, run_until, unless_stopped
from kirby_common.topics import registry
from redis.asyncio import Redis

from kirby_scheduler.election import Election
from kirby_scheduler.enrol import enrol
from kirby_scheduler.loops.arbiter import arbiter_loop
from kirby_scheduler.loops.backfill import backfill_loop
from kirby_scheduler.loops.explain import explain
from kirby_scheduler.loops.marks import watch
from kirby_scheduler.loops.progress import sample
from kirby_scheduler.loops.reap import reap_loop
from kirby_scheduler.loops.retention import retain
from kirby_scheduler.loops.rewind import rewind_loop
from kirby_scheduler.loops.sweep import sweep
from kirby_scheduler.loops.tick import tick_loop
from kirby_scheduler.settings import SchedulerSettings
from kirby_scheduler.term import Term

log = structlog.get_logger()
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    name: str
    window: timedelta
    wakeup: timedelta
    host: str
    port: int
    enrol_worker: str | None = None
    enrol_fd: int | None = None


async def serve(stop: asyncio.Event, *, settings: SchedulerSettings, options: Options) -> None:
    """Runs a candidate until `stop` is set; waits for absent stores and says so."""
    health = Health(service="scheduler", version=version("kirby-scheduler"))
    async with AsyncExitStack() as stack:
        engine = connect(settings.sqlalchemy_database_uri.get_secret_value(), application="kirby-scheduler")
        stack.push_async_callback(engine.dispose)
        bus = await stack.enter_async_context(KafkaBus(settings))
        redis = Redis.from_url(settings.redis_url, socket_timeout=2, socket_connect_timeout=2)
        stack.push_async_callback(redis.aclose)
        bound = listen(options.host, options.port)
        await stack.enter_async_context(http_server(health_app(health), bound=bound))
        health.waiting_for = "waiting for PostgreSQL"
        if not await unless_stopped(stop, prepare(engine)):
            return
        if options.enrol_worker is not None and options.enrol_fd is not None:
            await enrol(engine, worker=options.enrol_worker, fd=options.enrol_fd)
        health.started = True
        relay = OutboxRelay(engine, bus)
        election = Election(
            engine, RedisLock(redis), holder=uuid4(), name=options.name, window=options.window,
            lead=lambda term: lead(term, relay, settings=settings, wakeup=options.wakeup),
        )  # fmt: skip
        components = {"election": election.run(), "outbox": relay.run(), "topics": _topics(settings)}
        await run_until(stop, components)


async def lead(term: Term, relay: OutboxRelay, *, settings: SchedulerSettings, wakeup: timedelta) -> None:
    """All loops of a leader, side by side; the first one that fails ends them all."""
    clusters = Clusters(settings)
    prefix = settings.kirby_topic_job_offers
    lease = settings.kirby_lease
    second = timedelta(seconds=1)
    lost = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for loop in (
            tick_loop(
                term, relay, every=settings.kirby_tick, wakeup=wakeup, horizon=settings.kirby_horizon,
                offers_prefix=prefix,
            ),
            reap_loop(term, relay, SystemClock(), lease=lease, offers_prefix=prefix, settled=lost),
            _each(second, relay, lambda: sweep(term, offers_prefix=prefix)),
            _each(2 * second, relay, lambda: explain(term, lease=lease)),
            backfill_loop(term, relay, offers_prefix=prefix),
            rewind_loop(term, relay, clusters.groups, offers_prefix=prefix),
            _each(max(lease / 4, second), relay, lambda: watch(term, lease=lease, grace=settings.kirby_alert_grace)),
            _each(max(lease / 2, 5 * second), relay, lambda: sample(term, clusters)),
            arbiter_loop(term, relay, lease_s=lease.total_seconds(), offers_prefix=prefix, changed=lost),
            _each(
                _HOUR, relay,
                lambda: retain(
                    term, keep=settings.kirby_run_retention, keep_revisions=settings.kirby_revision_retention
                ),
            ),
        ):  # fmt: skip
            group.create_task(loop)


class Clusters:
    """The Kafka clusters by their bootstrap servers: the suite's own, and those that environments name."""

    def __init__(self, settings: SchedulerSettings) -> None:
        self._settings = settings
        self._known: dict[str, KafkaOffsets] = {}

    def __call__(self, servers: str | None) -> KafkaOffsets:
        where = servers or self._settings.kafka_bootstrap_servers
        if where not in self._known:
            self._known[where] = KafkaOffsets(self._of(where))
        return self._known[where]

    def groups(self, servers: str | None) -> KafkaGroups:
        """Its consumer groups, to move them."""
        return KafkaGroups(self._of(servers or self._settings.kafka_bootstrap_servers))

    def _of(self, servers: str) -> SchedulerSettings:
        return self._settings.model_copy(update={"kafka_bootstrap_servers": servers})


async def _each(period: timedelta, relay: OutboxRelay, step: Callable[[], Awaitable[int]]) -> None:
    while True:
        if await step():
            relay.wake()
        await asyncio.sleep(period.total_seconds())


async def _topics(settings: SchedulerSettings) -> None:
    admin = KafkaTopicAdmin(settings)
    await admin.wait_and_ensure(
        registry(offers_prefix=settings.kirby_topic_job_offers, log_retention=settings.kirby_log_retention)
    )
    await asyncio.Event().wait()
