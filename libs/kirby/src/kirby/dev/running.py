"""One life of `kirby dev`: start everything, load the demo, say where it is, keep it up, stop it."""

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kirby.dev import administration, own_wheel
from kirby.dev.home import Home
from kirby.dev.lifeline import Lifeline
from kirby.dev.parts import PartFailed
from kirby.dev.screen import Follower, Screen
from kirby.dev.suite import Suite, build
from kirby.dev.supervisor import Supervisor

_START_TIMEOUT_S = 180
_LOG_LIMIT = 20_000_000


@dataclass(frozen=True)
class Options:
    supervisors: int = 1
    demo: bool = True
    verbose: bool = False


class Life:
    """`on_ready` is called once, when the page, the workers and the demo are there."""

    def __init__(self, home: Home, options: Options, screen: Screen | None = None) -> None:
        self._home = home
        self._options = options
        self.screen: Screen = screen or Screen(sys.stdout, on_change=self.record)
        self._known: dict[str, Any] = {}
        self._suite: Suite | None = None
        self._supervisor: Supervisor | None = None
        self._stop = asyncio.Event()

    async def run(self, *, on_ready: Callable[[], None]) -> None:
        """Runs until SIGTERM or SIGINT. Raises `PartFailed` when it can't be brought up."""
        self._handle_signals()
        lifeline = Lifeline()
        try:
            self._prepare(lifeline)
            assert self._supervisor is not None
            keeping = asyncio.create_task(self._supervisor.keep_all())
            try:
                await self._until_stopped(keeping, on_ready)
            finally:
                keeping.cancel()
                with suppress(asyncio.CancelledError, PartFailed):
                    await keeping
                await self._end(lifeline)
        finally:
            lifeline.close()

    def record(self) -> None:
        """Writes `kirby.json`: how commands find the suite."""
        if self._suite is None or self._supervisor is None:
            return
        parts = {
            name: {"pid": one.pid, "port": one.part.port, "version": one.part.version()}
            for name, one in self._supervisor.kept.items()
        }
        self._home.write_state(
            self._known
            | {
                "url": self._suite.url,
                "index_url": self._suite.index.url,
                "parts": parts,
                "external": list(self._suite.external),
                "env": self._suite.told(),
            }
        )

    def _prepare(self, lifeline: Lifeline) -> None:
        state = self._home.state()
        self._known = {name: state[name] for name in ("token", "demo") if name in state}
        for log in self._home.logs.glob("*.log"):
            if log.stat().st_size > _LOG_LIMIT:
                log.replace(log.with_suffix(".log.1"))
        self._suite = build(self._home, lifeline=lifeline, supervisors=self._options.supervisors)
        self.screen.strong(f"Kirby in {self._home.path}")
        if self._suite.kafka is not None and self._suite.kafka.needs_download:
            self.screen.say("  downloading Kafka (50 MB, once for all homes) …")
        self._supervisor = Supervisor(self._suite.kept, lifeline=lifeline, logs=self._home.logs, report=self.screen)

    async def _until_stopped(self, keeping: "asyncio.Task[None]", on_ready: Callable[[], None]) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        following = asyncio.create_task(self._follow()) if self._options.verbose else None
        starting = asyncio.create_task(self._start(on_ready))
        try:
            await asyncio.wait({keeping, stopped, starting}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not starting.cancelled():
                starting.result()
                await asyncio.wait({keeping, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()
        finally:
            for task in (starting, stopped, following):
                if task is not None:
                    task.cancel()

    async def _start(self, on_ready: Callable[[], None]) -> None:
        assert self._suite is not None
        assert self._supervisor is not None
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                entrance = await self._open()
                await self._supervisor.all_ready()
        except TimeoutError:
            late = [name for name, one in self._supervisor.kept.items() if not one.ready.is_set()]
            raise PartFailed(
                f"not ready after {_START_TIMEOUT_S} s: {', '.join(late)}; `kirby dev logs {late[0]}` tells more"
            ) from None
        self.record()
        self.screen.strong(f"\nKirby runs at {self._suite.url}")
        self.screen.say(f"Log in (once, within an hour): {entrance.link}")
        on_ready()

    async def _open(self) -> administration.Entrance:
        """Publishes our wheel, sees to the administrator and the demo, as soon as the parts they need are there."""
        assert self._suite is not None
        assert self._supervisor is not None
        env = self._suite.environments["api"]
        stores = [name for name in ("postgres", "redis", "kafka") if name in self._supervisor.kept]
        await self._supervisor.all_ready([*stores, "index"])
        published = await asyncio.to_thread(own_wheel.publish, self._suite.index.packages)
        if published.is_new:
            self.screen.say(f"  {'kirby':<12} {published.version:<12} published on the private index")
        entrance = None
        if token := self._known.get("token"):
            await self._supervisor.all_ready(["api"])
            entrance = await administration.known_entrance(self._suite.url, token)
        if entrance is None:
            entrance = await administration.first_entrance(self._suite.url, env=env)
        self._known["token"] = entrance.token
        self.record()
        if self._options.demo and not self._known.get("demo"):
            await self._supervisor.all_ready(["api"])
            reason = await administration.load_demo(env=env)
            # A suite that is not empty stays as it is, and is not asked again.
            self._known["demo"] = "not loaded" if reason else "loaded"
            self.screen.say(f"  {'demo':<12} {reason or 'loaded'}")
        return entrance

    async def _follow(self) -> None:
        follower = Follower(self._home.logs)
        while True:
            follower.step()
            await asyncio.sleep(0.2)

    async def _end(self, lifeline: Lifeline) -> None:
        assert self._supervisor is not None
        self.screen.say("Stopping …")
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._supervisor.kill)
        await self._supervisor.stop(between=lifeline.cut)
        self.record()
        self.screen.say("Stopped.")

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, self._stop.set)
