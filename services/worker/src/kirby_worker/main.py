"""The worker's composition root: the only module that names adapters."""

import asyncio
import os
import socket
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any, TypeVar
from uuid import uuid4

import httpx2
import structlog
from kirby_common.clock import SystemClock
from kirby_common.kafka import KafkaBus
from kirby_common.runtime import Health, health_app, http_server, listen
from kirby_common.worker_protocol import Hello, Welcome

from kirby_worker import lifeline
from kirby_worker.adapters.endpoint import Credentials, HttpEndpoint, Unavailable
from kirby_worker.adapters.home import Home, locked_home
from kirby_worker.adapters.uv import interpreter_version, platform_tag
from kirby_worker.discovery import discover
from kirby_worker.settings import WorkerSettings
from kirby_worker.shim import processes
from kirby_worker.worker import Resources, Worker

log = structlog.get_logger()

T = TypeVar("T")
_HELLO_RETRY_S = 0.5


async def serve(stop: asyncio.Event, *, settings: WorkerSettings, name: str, token: str, host: str, port: int) -> None:
    """Runs the worker until `stop` is set. Raises `HomeInUse`, `NameTaken`, `Refused`, `Gone`."""
    processes.become_subreaper()
    health = Health(service="worker", version=version("kirby-worker"))
    credentials = Credentials(token, uuid4())
    async with AsyncExitStack() as stack:
        home = stack.enter_context(locked_home(settings.home(name), name=name, host=socket.gethostname()))
        await stack.enter_async_context(http_server(health_app(health), bound=listen(host, port)))
        client = await stack.enter_async_context(httpx2.AsyncClient(timeout=10, trust_env=False))
        health.waiting_for = "waiting for the api"
        places = await _unless(stop, discover(client, settings))
        if places is None:
            return
        health.waiting_for = "waiting for the ledger"
        endpoint = HttpEndpoint(client, ledger_url=places.ledger, credentials=credentials)
        welcome = await _unless(stop, _hello(endpoint, _introduction(settings, name, home, credentials)))
        if welcome is None:
            return
        bus = await stack.enter_async_context(KafkaBus(settings))
        resources = Resources(settings, home, places, credentials, client, endpoint, bus, SystemClock(), health)
        worker = Worker(resources, lease_s=welcome.lease_ms / 1000)
        if settings.kirby_lifeline_fd is not None:
            lifeline.watch(settings.kirby_lifeline_fd, below=worker.tool_pids)
        await worker.run(stop, welcome.attempts)


def _introduction(settings: WorkerSettings, name: str, home: Home, credentials: Credentials) -> Hello:
    return Hello(
        name=name,
        incarnation=credentials.incarnation,
        boot_id=processes.boot_id(),
        home_id=home.home_id,
        host=socket.gethostname(),
        pool=settings.kirby_supervisor_group_id,
        labels=settings.labels,
        places=settings.kirby_places,
        version=version("kirby-worker"),
        platform=platform_tag(),
        python=interpreter_version(),
    )


async def _hello(endpoint: HttpEndpoint, hello: Hello) -> Welcome:
    """Waits for the ledger as long as it takes, and says so once. Raises `NameTaken`, `Refused`."""
    told = False
    while True:
        try:
            welcome = await endpoint.hello(hello)
        except Unavailable as error:
            if not told:
                log.warning("worker.waiting_for_ledger", reason=str(error))
                told = True
            await asyncio.sleep(_HELLO_RETRY_S)
            continue
        log.info("worker.welcome", name=hello.name, inherited=len(welcome.attempts), pid=os.getpid())
        return welcome


async def _unless(stop: asyncio.Event, waiting: Coroutine[Any, Any, T]) -> T | None:
    """The result, or None when the worker is to stop first."""
    task = asyncio.ensure_future(waiting)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        stopped.cancel()
        task.cancel()
