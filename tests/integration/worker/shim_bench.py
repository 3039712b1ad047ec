"""A shim under test: a run folder, a script, the shim's messages and what it wrote."""

import asyncio
import json
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from kirby_common.logchunks import CONT, END, Frame, frames
from kirby_worker.adapters.home import journal
from kirby_worker.adapters.shims import ShimChannel, ShimPool
from kirby_worker.shim.processes import boot_clock

from tests.eventually import eventually


@dataclass
class ShimBench:
    folder: Path
    shim: ShimChannel
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def listen(self) -> None:
        async for message in self.shim.messages():
            self.heard.append(message)

    def said(self, kind: str) -> dict[str, Any] | None:
        return next((m for m in self.heard if m["t"] == kind), None)

    async def until(self, kind: str, *, timeout: float = 20) -> dict[str, Any]:
        found = await eventually(lambda: self.said(kind), timeout=timeout, every=0.005, what=f"{kind!r}")
        assert found is not None
        return found

    def assign(self, script: str, **options: Any) -> None:
        (self.folder / "work").mkdir(exist_ok=True)
        path = self.folder / "script.py"
        path.write_text(textwrap.dedent(script))
        self.shim.send(
            {
                "t": "task",
                "folder": str(self.folder),
                "argv": [sys.executable, str(path)],
                "env": {"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"},
                "nice": 0,
                "run_as": None,
                "timeout_s": None,
                "grace_s": 5.0,
                "fenced": False,
                "lease_s": 20.0,
                "spool_limit": 2**30,
                "keep": {},
            }
            | options
        )

    def go(self, *, within_s: float = 2.0, in_s: float = 0.0, attempt: int = 1) -> None:
        now = boot_clock()
        self.shim.send({"t": "go", "at": now + in_s, "until": now + within_s, "attempt": attempt})

    async def run(self, script: str, *, timeout: float = 20, **options: Any) -> dict[str, Any]:
        """From the task to the end."""
        self.assign(script, **options)
        await self.until("ready")
        self.go()
        return await self.until("ended", timeout=timeout)

    def spooled(self) -> list[Frame]:
        data = b"".join(p.read_bytes() for p in sorted(self.folder.glob("spool.*")))
        return list(frames(data))

    def text(self, stream: int) -> bytes:
        return b"".join(f.payload for f in self.spooled() if f.stream == stream)

    def check_log(self, ended: dict[str, Any]) -> None:
        """The frames are without gaps, END is the last, and the summary is true."""
        held = self.spooled()
        assert [f.seq for f in held] == list(range(len(held)))
        assert held[-1].flags & END
        assert not any(f.flags & END for f in held[:-1])
        summary = ended["log"]
        assert summary["last_seq"] == held[-1].seq
        assert summary["bytes"] == sum(len(f.payload) for f in held)
        assert summary["lines"] == sum(f.nlines for f in held)
        assert summary["sha256"] == sha256(b"".join(f.payload for f in held)).hexdigest()
        begun = [f for f in held if f.nlines]
        assert all(f.cont for f in held if f.flags & CONT)
        expected = 1
        for frame in begun:
            assert frame.line == expected
            expected += frame.nlines

    def journal(self) -> dict[str, dict[str, Any]]:
        return journal(self.folder)


@asynccontextmanager
async def shim_bench(folder: Path, *, lifeline: int | None = None) -> AsyncIterator[ShimBench]:
    """An idle shim, with somebody who listens to it."""
    pool = ShimPool(warm=0, lifeline=lifeline, errors=folder / "shims.log")
    run_folder = folder / "run"
    run_folder.mkdir()
    bench = ShimBench(run_folder, await pool.take())
    listening = asyncio.create_task(bench.listen())
    try:
        yield bench
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        bench.shim.close()
        prepared = bench.journal().get("prepared")
        pids = pool.pids
        await eventually(lambda: _reaped(pool), what=f"the end of the shims {pids} {prepared}")
        errors = (folder / "shims.log").read_text()
        assert not errors, errors


def _reaped(pool: ShimPool) -> bool:
    pool.reap()
    return not pool.pids


def witness(path: Path) -> list[dict[str, Any]]:
    """What scripts wrote to a file that Kirby never reads."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
