"""Keeping processes alive, and ending them with their parent, on parts that are nothing but a process."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from kirby.dev.lifeline import Lifeline
from kirby.dev.parts import Launch, Part, PartFailed
from kirby.dev.supervisor import Kept, Supervisor

from tests.eventually import eventually, eventually_sync

_SLEEPER = "import time; time.sleep(600)"


class Sleeper:
    """Ready as soon as it runs."""

    port = 0

    def __init__(self, name: str, *, code: str = _SLEEPER) -> None:
        self.name = name
        self._code = code
        self.finished = 0

    def version(self) -> str:
        return "1"

    def prepare(self) -> None: ...

    def launch(self) -> Launch:
        return Launch((sys.executable, "-c", self._code), env=dict(os.environ), stop_grace_s=0.5)

    def is_ready(self) -> bool:
        return True

    def finish(self) -> None:
        self.finished += 1


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def ready(self, part: Part, *, after_s: float, again: bool) -> None:
        self.lines.append(f"{part.name} ready{' again' if again else ''}")

    def ended(self, part: Part, *, code: int, again_in_s: float) -> None:
        self.lines.append(f"{part.name} ended {code}")

    def changed(self) -> None: ...


async def test_a_killed_part_is_back_within_five_seconds_and_it_is_told(tmp_path: Path) -> None:
    told, lifeline = Told(), Lifeline()
    supervisor = Supervisor([Kept(Sleeper("one"))], lifeline=lifeline, logs=tmp_path, report=told)
    keeping = asyncio.create_task(supervisor.keep_all())
    await supervisor.all_ready()
    first = supervisor.kept["one"].pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: "one ready again" in told.lines, timeout=5)
    assert told.lines == ["one ready", "one ended -9", "one ready again"]
    await _stop(supervisor, keeping, lifeline)


async def test_rounds_are_stopped_in_order_and_the_stubborn_are_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    parts = [Kept(Sleeper("store"), stop_round=1), Kept(Sleeper("worker", code=stubborn), stop_round=0)]
    lifeline = Lifeline()
    supervisor = Supervisor(parts, lifeline=lifeline, logs=tmp_path, report=Told())
    keeping = asyncio.create_task(supervisor.keep_all())
    await supervisor.all_ready()
    pids = [one.pid for one in parts]
    left: list[list[bool]] = []
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await supervisor.stop(between=lambda: left.append([psutil.pid_exists(pid or 0) for pid in pids]))
    lifeline.close()
    assert left == [[True, False], [False, False]]


async def test_a_part_that_never_comes_up_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    lifeline = Lifeline()
    broken = Kept(Sleeper("broken", code="import sys; sys.exit('no space left')"))
    supervisor = Supervisor([broken], lifeline=lifeline, logs=tmp_path, report=Told())
    broken.part.is_ready = lambda: False  # type: ignore[method-assign]
    with pytest.raises(PartFailed, match=r"(?s)broken does not start .*no space left"):
        await supervisor.keep_all()
    lifeline.close()


def test_nothing_survives_a_killed_parent(tmp_path: Path) -> None:
    """The part's own child has left the session, as run shims do, and watches the lifeline."""
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], cwd=Path.cwd())
    pids = eventually_sync(lambda: [int(pid) for pid in (tmp_path / "pids").read_text().split()])
    assert all(psutil.pid_exists(pid) for pid in pids)
    assert len(pids) == 3
    parent.kill()
    parent.wait()
    eventually_sync(lambda: not any(_lives(pid) for pid in pids), timeout=5)


def test_a_killed_guard_is_replaced() -> None:
    lifeline = Lifeline()
    process = subprocess.Popen([sys.executable, "-c", _SLEEPER], start_new_session=True)
    lifeline.add(process.pid)
    os.kill(lifeline._guard.pid, signal.SIGKILL)
    eventually_sync(lambda: lifeline._guard.poll() is not None)
    lifeline.remove(12345)
    assert lifeline._guard.poll() is None
    lifeline.close()
    assert process.wait(5) == -signal.SIGKILL


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def _stop(supervisor: Supervisor, keeping: "asyncio.Task[None]", lifeline: Lifeline) -> None:
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await supervisor.stop(between=lifeline.cut)
    lifeline.close()


_PARENT = """
import os, sys, time
from pathlib import Path
from kirby.dev.lifeline import Lifeline
from kirby.dev.parts import Launch
from kirby.dev.processes import spawn

folder = Path(sys.argv[1])
shim = "import os; os.setsid(); os.read(int(os.environ['FD']), 1)"
code = f'''
import os, subprocess, sys, time
fd = int(os.environ["FD"])
shim = subprocess.Popen([sys.executable, "-c", {shim!r}], pass_fds=(fd,))
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(folder / "unfinished")!r}, "w").write(f"{{os.getpid()}} {{shim.pid}} {{helper.pid}}")
os.rename({str(folder / "unfinished")!r}, {str(folder / "pids")!r})
time.sleep(600)
'''
lifeline = Lifeline()
env = dict(os.environ) | {"FD": str(lifeline.read_fd)}
process = spawn(Launch((sys.executable, "-c", code), env=env, pass_fds=(lifeline.read_fd,)), log=folder / "log")
lifeline.add(process.pid)
time.sleep(600)
"""
