"""A service's life: start, be healthy, drain on SIGTERM, stop; and its `/healthz` and `/readyz`.

A service is an async function that runs until `stop` is set. When any of its parts ends early or raises,
the whole service ends with a non-zero exit code: whoever supervises it starts it again.
"""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import structlog
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

log = structlog.get_logger()

Check = Callable[[], Awaitable[str | None]]
"""A readiness check: None when well, else a sentence."""


class CannotListen(RuntimeError):
    """The address is not to be had; the text is a sentence for the user."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(f"can't listen on {host}:{port} ({error.strerror or error}): choose another --port")


class ComponentEnded(RuntimeError):
    """A part that should run for ever returned."""


class Health:
    """What `/readyz` answers: every named check, and whether the service has finished starting."""

    def __init__(self, *, service: str, version: str) -> None:
        self.service = service
        self.version = version
        self.started = False
        self.waiting_for: str | None = None
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        self._checks[name] = check

    async def problems(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if not self.started:
            found["start"] = self.waiting_for or "starting"
        for name, check in self._checks.items():
            try:
                async with asyncio.timeout(2):
                    problem = await check()
            except Exception as error:
                problem = str(error) or type(error).__name__
            if problem:
                found[name] = problem
        return found

    def routes(self) -> list[Route]:
        return [Route("/healthz", self._healthz), Route("/readyz", self._readyz)]

    async def _healthz(self, _: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "service": self.service, "version": self.version})

    async def _readyz(self, _: Request) -> JSONResponse:
        problems = await self.problems()
        return JSONResponse(
            {"status": "waiting" if problems else "ready", "service": self.service, "problems": problems},
            status_code=503 if problems else 200,
        )


def run(service: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> int:
    """Runs the service until SIGTERM or SIGINT sets its `stop` event; returns the exit code."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, stop.set)
        await service(stop)

    code = 0
    try:
        uvloop.run(main())
    except* ComponentEnded as group:
        log.error("service.component_ended", errors=[str(e) for e in group.exceptions])
        code = 1
    return code


async def run_until(
    stop: asyncio.Event, components: dict[str, Coroutine[Any, Any, None]], *, grace_s: float = 0.0
) -> None:
    """Runs the components side by side until `stop` is set, then cancels them and waits.

    A component that returns or raises before that stops the others and surfaces. Components that watch
    `stop` themselves get `grace_s` seconds to return on their own before they are cancelled.
    """

    async def watched(name: str, component: Coroutine[Any, Any, None]) -> None:
        await component
        if not stop.is_set():
            raise ComponentEnded(f"{name} returned")

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(watched(name, component), name=name) for name, component in components.items()]
        await stop.wait()
        if grace_s:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Runs the work, but cancels it when `stop` is set first; True when it was done."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((doing, stopping), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            await doing
            return True
        return False
    finally:
        doing.cancel()
        stopping.cancel()
        await asyncio.gather(doing, stopping, return_exceptions=True)


def listen(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 picks a free one. Raises `CannotListen`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise CannotListen(host, port, error) from error
    return bound


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers: `run` has them."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """As uvicorn's own, but awake once a second, not ten times: six idle services share a laptop."""
        while not self.stopping.is_set():
            await self.on_tick(0)
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self.stopping.wait()


@asynccontextmanager
async def http_server(app: ASGIApp, *, bound: socket.socket, proxy: bool = False) -> AsyncIterator[uvicorn.Server]:
    """Serves `app` on the socket; on leaving, stops accepting and lets requests finish for 5 s.

    Raises `CannotListen`.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=5,
        proxy_headers=proxy,
        timeout_keep_alive=30,
        ws="none",
    )
    server = _Server(config)
    address = bound.getsockname()
    task = asyncio.create_task(server.serve(sockets=[bound]), name="http")
    try:
        while not server.started:
            if task.done():
                await _started(task, address)
                raise ComponentEnded("the HTTP server did not start")
            await asyncio.sleep(0.005)
        yield server
    finally:
        server.should_exit = True
        server.stopping.set()
        if server.started or not task.done():
            await task


async def _started(task: asyncio.Task[None], address: tuple[Any, ...]) -> None:
    """Raises what ended the server. Somebody may have had the port between our binding it and listening on it."""
    try:
        await task
    except OSError as error:
        raise CannotListen(address[0], address[1], error) from error


def health_app(health: Health) -> Starlette:
    """The smallest HTTP application: health only."""
    return Starlette(routes=health.routes())
