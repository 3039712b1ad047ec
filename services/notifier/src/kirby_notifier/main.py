"""Wires the notifier: the only module that names its adapters."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.metadata import version

import structlog
from fastapi import FastAPI
from kirby_common import logs, runtime, topics
from kirby_common.clock import SystemClock
from kirby_common.consumer import DeadLetters, GroupConsumer, Processor, stopped_within
from kirby_common.database import connect, is_passing
from kirby_common.kafka import KafkaBus, KafkaTail, KafkaTopicAdmin
from kirby_common.runtime import Health, unless_stopped
from kirby_common.topic_end import KafkaTopicEnd
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from kirby_notifier.adapters.mail import MailCourier
from kirby_notifier.adapters.postgres import PostgresNotebook
from kirby_notifier.adapters.schema import prepare
from kirby_notifier.adapters.webhooks import WebhookCourier
from kirby_notifier.app import create_app
from kirby_notifier.delivering import Delivering
from kirby_notifier.domain.config import Entity, read_entity
from kirby_notifier.events import Event, Events, read_event
from kirby_notifier.ports import Courier, Kind
from kirby_notifier.projection import CaughtUp, follow_config, project_batch
from kirby_notifier.settings import NotifierSettings

log = structlog.get_logger()

GROUP = "kirby-notifier"


@dataclass(frozen=True)
class Resources:
    settings: NotifierSettings
    engine: AsyncEngine
    notebook: PostgresNotebook
    config_end: KafkaTopicEnd
    config: Processor[Entity | None]
    events: GroupConsumer[Event]
    delivering: Delivering
    health: Health
    app: FastAPI


def run(settings: NotifierSettings, *, bound: socket.socket) -> int:
    """Runs the notifier on the socket until SIGTERM; returns the exit code."""
    logs.configure(service="notifier", log_format=settings.log_format, level=settings.kirby_log_level)
    return runtime.run(partial(serve, settings, bound=bound))


async def serve(settings: NotifierSettings, stop: asyncio.Event, *, bound: socket.socket) -> None:
    async with _resources(settings) as resources:
        log.info("notifier.listening", address=bound.getsockname())
        async with runtime.http_server(resources.app, bound=bound):
            if not await unless_stopped(stop, prepare(resources.engine)):
                return
            resources.app.state.notebook = resources.notebook
            resources.health.started = True
            log.info("notifier.ready")
            parts = {
                "reading": _read(resources, stop),
                "delivering": resources.delivering.run(stop),
                "purge": _purge(resources, stop),
            }
            await runtime.run_until(stop, parts, grace_s=settings.kirby_notifier_timeout.total_seconds() + 2)


async def _read(resources: Resources, stop: asyncio.Event) -> None:
    """Configuration, run events and missed marks, once there is a broker. What is noted is delivered without."""
    settings = resources.settings
    registry = topics.registry(
        offers_prefix=settings.kirby_topic_job_offers, log_retention=settings.kirby_log_retention
    )
    if await unless_stopped(stop, KafkaTopicAdmin(settings).wait_and_ensure(registry)):
        async with asyncio.TaskGroup() as group:
            group.create_task(_follow(resources, stop))
            group.create_task(resources.events.run(stop))


async def _follow(resources: Resources, stop: asyncio.Event) -> None:
    """Follows the configuration; a store that is away only delays it."""
    while not stop.is_set():
        following = follow_config(
            KafkaTail(resources.settings),
            topic=topics.CONFIG,
            notebook=resources.notebook,
            processor=resources.config,
            end=resources.config_end,
            stop=stop,
        )
        try:
            await unless_stopped(stop, following)
        except Exception as error:
            if not is_passing(error):
                raise
            log.warning("config.waiting", reason=str(error).split("\n")[0])
            await stopped_within(1.0, stop=stop)


async def _purge(resources: Resources, stop: asyncio.Event) -> None:
    while not await stopped_within(3600, stop=stop):
        try:
            await resources.notebook.purge(older_than=resources.settings.kirby_notifier_retention)
        except Exception as error:
            if not is_passing(error):
                raise


@asynccontextmanager
async def _resources(settings: NotifierSettings) -> AsyncIterator[Resources]:
    async with AsyncExitStack() as stack:
        engine = connect(settings.sqlalchemy_database_uri.get_secret_value(), application="kirby-notifier", pool_size=5)
        stack.push_async_callback(engine.dispose)
        bus = await stack.enter_async_context(KafkaBus(settings))
        config_end = await stack.enter_async_context(KafkaTopicEnd(settings, topic=topics.CONFIG))
        couriers = await _couriers(settings, stack)
        notebook, wake = PostgresNotebook(engine), asyncio.Event()
        dead_letters = DeadLetters(bus, service="notifier")
        events = _events(settings, notebook, dead_letters=dead_letters, end=config_end, kinds=couriers, wake=wake)
        config = Processor(
            decode=read_entity,
            handle=partial(project_batch, notebook),
            dead_letters=dead_letters,
            is_transient=is_passing,
        )
        delivering = Delivering(
            notebook,
            couriers,
            clock=SystemClock(),
            delays=settings.delays,
            lease=settings.kirby_notifier_timeout + max(timedelta(seconds=1), settings.kirby_notifier_timeout / 2),
            wake=wake,
            is_transient=is_passing,
        )
        health = Health(service="notifier", version=version("kirby-notifier"))
        health.waiting_for = "waiting for the database"
        health.add("postgres", partial(_database_problem, engine))
        health.add("kafka", events.problem)
        app = create_app(health=health, secret_key=settings.secret_key.get_secret_value())
        yield Resources(settings, engine, notebook, config_end, config, events, delivering, health, app)


async def _couriers(settings: NotifierSettings, stack: AsyncExitStack) -> dict[Kind, Courier]:
    timeout_s = settings.kirby_notifier_timeout.total_seconds()
    webhooks = WebhookCourier(
        key=settings.secret_key.get_secret_value(),
        timeout_s=timeout_s,
        allow_private=settings.kirby_notifier_allow_private,
    )
    couriers: dict[Kind, Courier] = {"webhook": await stack.enter_async_context(webhooks)}
    if settings.kirby_smtp_url is not None:
        url = settings.kirby_smtp_url.get_secret_value()
        couriers["email"] = MailCourier(url, sender=settings.kirby_smtp_from, timeout_s=timeout_s)
    return couriers


def _events(
    settings: NotifierSettings,
    notebook: PostgresNotebook,
    *,
    dead_letters: DeadLetters,
    end: KafkaTopicEnd,
    kinds: Iterable[Kind],
    wake: asyncio.Event,
) -> GroupConsumer[Event]:
    handle = Events(
        notebook,
        caught_up=CaughtUp(notebook, topic=topics.CONFIG, end=end),
        public_url=settings.kirby_public_url,
        kinds=frozenset(kinds),
        wake=wake,
    )
    processor = Processor(decode=read_event, handle=handle, dead_letters=dead_letters, is_transient=is_passing)
    return GroupConsumer(
        settings,
        group=GROUP,
        topics=[topics.RUN_EVENTS, topics.ALERTS],
        processor=processor,
        session_timeout_ms=6_000,
    )


async def _database_problem(engine: AsyncEngine) -> str | None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    return None
