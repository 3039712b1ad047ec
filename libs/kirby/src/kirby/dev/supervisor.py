"""Keeps the parts running: starts each when those it needs are ready, and again when it ends; stops all in order."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kirby.dev.backoff import Backoff
from kirby.dev.lifeline import Lifeline
from kirby.dev.parts import Launch, Part, PartFailed
from kirby.dev.processes import last_lines, signal_group, spawn

_TRIES = 3
"""A part that ends this often before it was ever ready is given up: something is wrong with the machine or home."""


class Report(Protocol):
    """Who is told; called from the event loop's thread."""

    def ready(self, part: Part, *, after_s: float, again: bool) -> None: ...

    def ended(self, part: Part, *, code: int, again_in_s: float) -> None: ...

    def changed(self) -> None:
        """A process came or went."""
        ...


@dataclass
class Kept:
    """A part, what it needs to be ready first, and in which round it is stopped (0 first)."""

    part: Part
    needs: tuple[str, ...] = ()
    stop_round: int = 0
    process: subprocess.Popen[bytes] | None = None
    launch: Launch | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None


class Supervisor:
    def __init__(self, kept: Sequence[Kept], *, lifeline: Lifeline, logs: Path, report: Report) -> None:
        self.kept: dict[str, Kept] = {one.part.name: one for one in kept}
        self._lifeline = lifeline
        self._logs = logs
        self._report = report

    async def keep_all(self) -> None:
        """Keeps every part running until cancelled. Raises `PartFailed` when one can't be brought up at all."""
        failed: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as group:
                for one in self.kept.values():
                    group.create_task(self._keep(one), name=one.part.name)
        except* PartFailed as failures:
            failed += failures.exceptions
        # Raised inside `except*` it would come out as a group in some versions of Python 3.11.
        if failed:
            raise failed[0]

    async def all_ready(self, names: Sequence[str] | None = None) -> None:
        for name in names if names is not None else self.kept:
            await self.kept[name].ready.wait()

    async def stop(self, *, between: Callable[[], None]) -> None:
        """Ends the parts round by round, services before stores; calls `between` after each.

        Call it after `keep_all` was cancelled.
        """
        for number in sorted({one.stop_round for one in self.kept.values()}):
            members = [one for one in self.kept.values() if one.stop_round == number and one.process is not None]
            await asyncio.gather(*(self._end(one) for one in members))
            between()

    def kill(self) -> None:
        """Ends everything at once."""
        for one in self.kept.values():
            if one.pid is not None:
                signal_group(one.pid, signal.SIGKILL)

    async def _keep(self, one: Kept) -> None:
        began = time.monotonic()
        await asyncio.to_thread(one.part.prepare)
        await self.all_ready(one.needs)
        backoff, was_ready = Backoff(), False
        while True:
            started = time.monotonic()
            code, became_ready = await self._run_once(one, began=began if not was_ready else started, again=was_ready)
            was_ready = was_ready or became_ready
            backoff, delay_s = backoff.after_end(ran_for_s=time.monotonic() - started)
            if not was_ready and backoff.failures >= _TRIES:
                raise PartFailed(_failure(one.part.name, code, self._log(one)))
            self._report.ended(one.part, code=code, again_in_s=delay_s)
            await asyncio.sleep(delay_s)

    async def _run_once(self, one: Kept, *, began: float, again: bool) -> tuple[int, bool]:
        """Starts the part and waits for its end: its exit code, and whether it was ready in between."""
        one.launch = one.part.launch()
        one.process = process = spawn(one.launch, log=self._log(one))
        self._lifeline.add(process.pid)
        self._report.changed()
        probing = asyncio.create_task(self._probe(one, began=began, again=again))
        try:
            code = await _end_of(process)
        finally:
            probing.cancel()
        was_ready = one.ready.is_set()
        self._forget(one)
        self._report.changed()
        return code, was_ready

    async def _probe(self, one: Kept, *, began: float, again: bool) -> None:
        pause_s = 0.02
        while not await asyncio.to_thread(one.part.is_ready):
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.3, 0.25)
        one.ready.set()
        self._report.ready(one.part, after_s=time.monotonic() - began, again=again)

    def _forget(self, one: Kept) -> None:
        """Whatever of its process group is left goes too, before it is started again."""
        assert one.process is not None
        signal_group(one.process.pid, signal.SIGKILL)
        self._lifeline.remove(one.process.pid)
        one.process = None
        one.ready.clear()

    async def _end(self, one: Kept) -> None:
        assert one.process is not None
        assert one.launch is not None
        with suppress(ProcessLookupError):
            one.process.send_signal(one.launch.stop_signal)
        try:
            async with asyncio.timeout(one.launch.stop_grace_s):
                await _end_of(one.process)
            one.part.finish()
        except TimeoutError:
            signal_group(one.process.pid, signal.SIGKILL)
            await _end_of(one.process)
        self._forget(one)

    def _log(self, one: Kept) -> Path:
        return self._logs / f"{one.part.name}.log"


def _failure(name: str, code: int, log: Path) -> str:
    return f"{name} does not start (it ended with {code}). The end of {log}:\n{last_lines(log, count=8)}"


async def _end_of(process: subprocess.Popen[bytes]) -> int:
    """The process's exit code, once it has ended; costs nothing while it runs."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    fd = os.pidfd_open(process.pid)
    loop.add_reader(fd, _settle, ended)
    try:
        await ended
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    return process.wait()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
