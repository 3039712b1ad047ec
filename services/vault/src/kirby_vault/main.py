"""Wires the vault: the only module that names its adapters."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import structlog
from fastapi import FastAPI
from kirby_common import logs, runtime, topics
from kirby_common.consumer import DeadLetters, GroupConsumer, Processor
from kirby_common.database import connect, is_passing
from kirby_common.kafka import KafkaBus, KafkaTopicAdmin
from kirby_common.runtime import Health, unless_stopped
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from kirby_vault.adapters.postgres import PostgresSecretStore
from kirby_vault.adapters.schema import prepare
from kirby_vault.app import create_app
from kirby_vault.contexts import ContextGone, ContextNamed, project, read_context
from kirby_vault.domain.envelope import MasterKey
from kirby_vault.errors import WrongKey
from kirby_vault.handlers import Vault
from kirby_vault.settings import VaultSettings

log = structlog.get_logger()

ContextConsumer = GroupConsumer[ContextNamed | ContextGone | None]


@dataclass(frozen=True)
class Resources:
    settings: VaultSettings
    key: MasterKey
    engine: AsyncEngine
    store: PostgresSecretStore
    health: Health
    consumer: ContextConsumer
    app: FastAPI


def run(settings: VaultSettings, *, key: MasterKey, bound: socket.socket) -> int:
    """Runs the vault on the socket until SIGTERM; returns the exit code. Raises `WrongKey`."""
    logs.configure(service="vault", log_format=settings.log_format, level=settings.kirby_log_level)
    refused: list[WrongKey] = []

    async def service(stop: asyncio.Event) -> None:
        try:
            await serve(settings, stop, key=key, bound=bound)
        except* WrongKey as group:
            refused.extend(error for error in group.exceptions if isinstance(error, WrongKey))

    code = runtime.run(service)
    if refused:
        raise refused[0]
    return code


async def serve(settings: VaultSettings, stop: asyncio.Event, *, key: MasterKey, bound: socket.socket) -> None:
    async with _resources(settings, key=key) as resources:
        log.info("vault.listening", address=bound.getsockname(), key=key.id)
        async with runtime.http_server(resources.app, bound=bound):
            opened = asyncio.Event()
            parts = {"vault": _open(resources, stop, opened), "contexts": _follow(resources, stop, opened)}
            await runtime.run_until(stop, parts, grace_s=5)


@asynccontextmanager
async def _resources(settings: VaultSettings, *, key: MasterKey) -> AsyncIterator[Resources]:
    async with AsyncExitStack() as stack:
        engine = connect(settings.sqlalchemy_database_uri.get_secret_value(), application="kirby-vault", pool_size=5)
        stack.push_async_callback(engine.dispose)
        bus = await stack.enter_async_context(KafkaBus(settings))
        store = PostgresSecretStore(engine)
        health = Health(service="vault", version=version("kirby-vault"))
        health.waiting_for = "waiting for the database"
        health.add("postgres", partial(_database_problem, engine))
        processor = Processor(
            decode=read_context,
            handle=partial(project, store),
            dead_letters=DeadLetters(bus, service="vault"),
            is_transient=is_passing,
        )
        consumer = GroupConsumer(settings, group="kirby-vault", topics=[topics.CONFIG], processor=processor)
        app = create_app(health=health, secret_key=settings.secret_key.get_secret_value())
        yield Resources(settings, key, engine, store, health, consumer, app)


async def _open(resources: Resources, stop: asyncio.Event, opened: asyncio.Event) -> None:
    """Answers requests once the database is there and the key is the right one."""
    if not await unless_stopped(stop, prepare(resources.engine, key=resources.key)):
        return
    resources.app.state.vault = Vault(resources.store, resources.key)
    resources.health.started = True
    opened.set()
    log.info("vault.ready")
    await stop.wait()


async def _follow(resources: Resources, stop: asyncio.Event, opened: asyncio.Event) -> None:
    """Reads the contexts' names, when there is a broker. The vault is ready without."""
    settings = resources.settings
    registry = topics.registry(
        offers_prefix=settings.kirby_topic_job_offers, log_retention=settings.kirby_log_retention
    )

    async def both_stores() -> None:
        await KafkaTopicAdmin(settings).wait_and_ensure(registry)
        await opened.wait()

    if await unless_stopped(stop, both_stores()):
        await resources.consumer.run(stop)


async def _database_problem(engine: AsyncEngine) -> str | None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    return None
