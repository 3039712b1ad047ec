"""The ledger role's composition root: the only module that names adapters."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from uuid import uuid4

import httpx2
import structlog
from kirby_common import failpoints
from kirby_common.database import connect
from kirby_common.kafka import KafkaBus, KafkaTail, KafkaTopicAdmin
from kirby_common.ledger.outbox import OutboxRelay
from kirby_common.ledger.schema import prepare
from kirby_common.ledger.waiting import Doorkeeper
from kirby_common.runtime import Check, Health, http_server, listen, run_until, unless_stopped
from kirby_common.topics import registry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette

from kirby_api.adapters.kafka_states import KafkaLatestTopics, KafkaStateLogs
from kirby_api.ledger_role.endpoint import WorkerEndpoint
from kirby_api.ledger_role.recorder import Recorder
from kirby_api.ledger_role.watchman import Watchman
from kirby_api.lineage.openlineage import Namer
from kirby_api.lineage.recorder import LineageRecorder
from kirby_api.lineage.sender import OpenLineageSender, target_of
from kirby_api.settings import ApiSettings
from kirby_api.states.recorder import StateRecorder

log = structlog.get_logger()


async def serve(stop: asyncio.Event, *, settings: ApiSettings, host: str, port: int) -> None:
    """Runs the role until `stop` is set; waits for absent stores and says so."""
    failpoints.arm(os.environ)
    health = Health(service="ledger", version=version("kirby-api"))
    async with (
        _engine(settings) as engine,
        KafkaBus(settings) as bus,
        KafkaStateLogs(settings) as state_logs,
        KafkaLatestTopics(settings) as latest_topics,
        httpx2.AsyncClient(timeout=10, follow_redirects=False) as http,
    ):
        relay = OutboxRelay(engine, bus)
        doorkeeper = Doorkeeper(engine, relay, offers_prefix=settings.kirby_topic_job_offers)
        endpoint = WorkerEndpoint(
            engine,
            relay,
            doorkeeper,
            secret_key=settings.secret_key.get_secret_value(),
            lease=settings.kirby_lease,
            offers_prefix=settings.kirby_topic_job_offers,
        )
        recorder = Recorder(engine, KafkaTail(settings), holder=uuid4())
        states = StateRecorder(engine, state_logs, latest_topics)
        lineage = LineageRecorder(
            engine,
            KafkaTail(settings),
            holder=uuid4(),
            keep=settings.kirby_lineage_retention,
            keep_processes=max(settings.kirby_lineage_retention, settings.kirby_run_retention),
        )
        sending = _openlineage(settings, engine, http)
        watchman = Watchman(engine, relay, lease=settings.kirby_lease, grace=settings.kirby_alert_grace)
        others = {} if sending is None else {"openlineage": sending.run()}
        app = Starlette(routes=[*health.routes(), endpoint.routes()])
        async with http_server(app, bound=listen(host, port)):
            health.waiting_for = "waiting for PostgreSQL"
            if not await unless_stopped(stop, prepare(engine)):
                return
            health.add("postgres", _database_check(engine))
            health.started = True
            await run_until(
                stop,
                {
                    "topics": _topics(settings, health),
                    "outbox": relay.run(),
                    "doorkeeper": doorkeeper.run(),
                    "recorder": recorder.run(),
                    "states": states.run(),
                    "lineage": lineage.run(),
                    **others,
                    "watchman": watchman.run(),
                },
            )


def _openlineage(settings: ApiSettings, engine: AsyncEngine, http: httpx2.AsyncClient) -> OpenLineageSender | None:
    """None where nobody wants events."""
    if settings.kirby_openlineage_url is None:
        return None
    secret = settings.kirby_openlineage_token
    token = None if secret is None else secret.get_secret_value()
    target = target_of(settings.kirby_openlineage_url, http=http, token=token)
    namer = Namer(servers=settings.kafka_bootstrap_servers, version=version("kirby-api"))
    return OpenLineageSender(engine, KafkaTail(settings), target, namer)


@asynccontextmanager
async def _engine(settings: ApiSettings) -> AsyncIterator[AsyncEngine]:
    # A worker asks again after a quarter of its lease. What it asked before must not go on waiting for the same rows:
    # beats behind a stalled one would take all connections, and then nobody's would be written down any more.
    patience_ms = round(settings.kirby_lease.total_seconds() * 1000 / 4)
    engine = connect(settings.database_uri, application="kirby-ledger", pool_size=10, lock_timeout_ms=patience_ms)
    try:
        yield engine
    finally:
        await engine.dispose()


async def _topics(settings: ApiSettings, health: Health) -> None:
    """Sees to the topics once Kafka is there; runs never wait for that."""
    admin = KafkaTopicAdmin(settings)
    await admin.wait_and_ensure(
        registry(offers_prefix=settings.kirby_topic_job_offers, log_retention=settings.kirby_log_retention)
    )
    await asyncio.Event().wait()


def _database_check(engine: AsyncEngine) -> Check:
    async def check() -> str | None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return None

    return check
