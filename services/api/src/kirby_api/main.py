"""The web role's composition root: the only module that names adapters."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

import httpx2
from kirby_common.clock import SystemClock
from kirby_common.database import connect
from kirby_common.kafka import KafkaBus, KafkaTail, KafkaTopicAdmin
from kirby_common.kafka_groups import KafkaGroups
from kirby_common.kafka_offsets import KafkaOffsets
from kirby_common.ledger.outbox import OutboxRelay
from kirby_common.ledger.schema import prepare
from kirby_common.runtime import Check, Health, http_server, listen, run_until, unless_stopped
from kirby_common.topics import LOGS, RUN_EVENTS, registry
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from kirby_api.access.passwords import Passwords
from kirby_api.access.throttle import LoginThrottle
from kirby_api.adapters.kafka_log_store import KafkaLogStore
from kirby_api.adapters.kafka_messages import KafkaMessages
from kirby_api.app import create_app
from kirby_api.base_path import configured_path
from kirby_api.logs.hub import Hub
from kirby_api.packages.index import PackageIndex
from kirby_api.packages.pending import keep_uploading
from kirby_api.resources import Resources
from kirby_api.rewinds.ports import GroupsOf
from kirby_api.settings import ApiSettings


async def serve(stop: asyncio.Event, *, settings: ApiSettings, host: str, port: int) -> None:
    """Runs the role until `stop` is set; waits for absent stores and says so."""
    async with open_resources(settings) as resources:
        app = create_app(resources, version=resources.version, prefix=configured_path(settings))
        async with http_server(app, bound=listen(host, port), proxy=True):
            resources.health.waiting_for = "waiting for PostgreSQL"
            if not await unless_stopped(stop, prepare(resources.engine)):
                return
            resources.health.started = True
            components = {
                "topics": _topics(settings),
                "outbox": resources.relay.run(),
                "packages": keep_uploading(resources.engine, resources.index),
                "logs": resources.log_hub.run(),
                "run-events": resources.event_hub.run(),
            }
            await run_until(stop, components)


@asynccontextmanager
async def open_resources(settings: ApiSettings) -> AsyncIterator[Resources]:
    """Everything that requests need; nothing has connected yet."""
    async with AsyncExitStack() as stack:
        engine = connect(settings.database_uri, application="kirby-api", pool_size=20)
        stack.push_async_callback(engine.dispose)
        bus = await stack.enter_async_context(KafkaBus(settings))
        redis: Redis = Redis.from_url(
            settings.redis_url, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), 0)
        )
        stack.push_async_callback(redis.aclose)
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=10, follow_redirects=False))
        release = version("kirby-api")
        store = await stack.enter_async_context(KafkaLogStore(settings))
        messages = await stack.enter_async_context(KafkaMessages(settings))
        tail = KafkaTail(settings)
        health = Health(service="api", version=release)
        health.add("postgres", _database_check(engine))
        yield Resources(
            settings=settings,
            engine=engine,
            sessions=async_sessionmaker(engine, expire_on_commit=False),
            relay=OutboxRelay(engine, bus),
            clock=SystemClock(),
            http=http,
            passwords=Passwords(settings.security_password_salt.get_secret_value()),
            throttle=LoginThrottle(redis),
            index=PackageIndex(http, settings),
            log_store=store,
            log_hub=Hub(store, tail, topic=LOGS),
            event_hub=Hub(store, tail, topic=RUN_EVENTS),
            bus=bus,
            topics=KafkaTopicAdmin(settings),
            groups_of=_groups_of(settings),
            messages=messages,
            offsets=KafkaOffsets(settings),
            health=health,
            version=release,
        )


def _groups_of(settings: ApiSettings) -> GroupsOf:
    def at(servers: str | None) -> KafkaGroups:
        where = servers or settings.kafka_bootstrap_servers
        return KafkaGroups(settings.model_copy(update={"kafka_bootstrap_servers": where}))

    return at


async def _topics(settings: ApiSettings) -> None:
    """Sees to the topics once Kafka is there; requests never wait for that."""
    topics = registry(offers_prefix=settings.kirby_topic_job_offers, log_retention=settings.kirby_log_retention)
    await KafkaTopicAdmin(settings).wait_and_ensure(topics)
    await asyncio.Event().wait()


def _database_check(engine: AsyncEngine) -> Check:
    async def check() -> str | None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return None

    return check
