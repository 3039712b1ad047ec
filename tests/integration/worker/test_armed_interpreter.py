"""An armed start and a plain one are the same to the script."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kirby_common.logchunks import STDERR, STDOUT, SYSTEM
from kirby_worker.shim.processes import start_time

from tests.eventually import eventually
from tests.integration.worker.shim_bench import ShimBench, shim_bench

LOOKS = """
import sys
before = sorted(sys.modules)
import gc, json, os, signal, threading, time, traceback
main = sys.modules["__main__"]
spec = main.__spec__
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "flags": list(sys.flags), "modules": before,
    "names": sorted(vars(main)), "name": __name__, "file": globals().get("__file__"), "package": __package__,
    "spec": spec and [spec.name, spec.origin, spec.parent], "loader": type(__loader__).__name__,
    "env": dict(os.environ), "warn": sys.warnoptions, "x": sys._xoptions, "cwd": os.getcwd(),
    "prefix": [sys.prefix, sys.base_prefix, sys.executable], "umask": os.umask(0o022),
    "signals": {s: str(signal.getsignal(s)) for s in range(1, 32)}, "threads": len(threading.enumerate()),
    "fds": len(os.listdir("/proc/self/fd")), "sid": os.getsid(0) == os.getpid(), "nice": os.nice(0),
    "encodings": [sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors, sys.getfilesystemencoding()],
    "stdin": sys.stdin.read(), "buffered": sys.stdout.line_buffering, "zone": time.tzname,
    "excepthook": sys.excepthook is sys.__excepthook__,
}))
"""
STARTUP = {"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1", "TZ": "Asia/Tokyo", "HOME": "/nowhere"}


def startup(folder: Path) -> dict[str, str]:
    """With the package of `commands` where a venv would have it."""
    return STARTUP | {"PYTHONPATH": str(folder / "site")}


def commands(folder: Path, source: str) -> dict[str, list[str]]:
    """The three forms that a package is started in."""
    package = folder / "site" / "looking"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(textwrap.dedent(source))
    script = folder / "bin" / "look"
    script.parent.mkdir(exist_ok=True)
    script.write_text(textwrap.dedent(source))
    called = "import sys; sys.argv[0] = 'look'; import looking.__main__"
    return {
        "module": [sys.executable, "-m", "looking", "-v", "x y"],
        "script": [sys.executable, str(script), "-v", "x y"],
        "call": [sys.executable, "-c", called, "-v", "x y"],
    }


def armed(argv: list[str], env: dict[str, str]) -> dict[str, Any]:
    return {"load": {"argv": argv, "env": {name: env[name] for name in (*STARTUP, "PYTHONPATH")}}}


async def run(folder: Path, argv: list[str], env: dict[str, str], how: str) -> tuple[ShimBench, dict[str, Any]]:
    """The whole life of a run: plain, armed, or in an interpreter that had waited before there was a task."""
    folder.mkdir()
    async with shim_bench(folder) as bench:
        options: dict[str, Any] = {"argv": argv, "env": env, "nice": 3}
        if how == "paired":
            command = argv[:3] if argv[1].startswith("-") else argv[:2]
            bench.shim.send({"t": "load", "nice": 3, "run_as": None} | armed(command, env))
        bench.assign("", **options, **(armed(argv, env) if how == "armed" else {}))
        ready = await bench.until("ready")
        assert ready["armed"] == (how != "plain")
        bench.go()
        ended = await bench.until("ended")
        bench.check_log(ended)
        return bench, ended


@pytest.mark.parametrize("how", ["armed", "paired"])
@pytest.mark.parametrize("form", ["module", "script", "call"])
async def test_a_script_can_not_tell_an_armed_start_from_a_plain_one(form: str, how: str, tmp_path: Path) -> None:
    argv = commands(tmp_path, LOOKS)[form]
    env = startup(tmp_path) | {"GREETING": "grüß dich \udcff"}
    seen = {}
    for start in ("plain", how):
        bench, ended = await run(tmp_path / start, argv, env, start)
        assert ended["exit_code"] == 0, bench.text(STDERR)
        seen[start] = json.loads(bench.text(STDOUT).replace(str(tmp_path / start).encode(), b"FOLDER"))
        seen[start]["env"].pop("KIRBY_SECRET_FD")
    plain = seen["plain"]
    assert {name: (found, plain[name]) for name, found in seen[how].items() if found != plain[name]} == {}


ENDINGS = {
    "an exception": """
        def deep():
            raise ValueError("no") from KeyError("why")
        deep()
        """,
    "an exception within another": """
        try:
            1 / 0
        except ZeroDivisionError:
            open("/nowhere/at/all")
        """,
    "a mistake in its syntax": "x = = 1",
    "an exit with a sentence": "import sys; sys.exit('nothing to do')",
    "an exit code": "raise SystemExit(7)",
    "an interrupt": "raise KeyboardInterrupt",
    "a hook of its own": """
        import sys, traceback
        def hook(kind, error, trace):
            print("hooked", kind, error, [f.name for f in traceback.extract_tb(trace)], sys.excepthook is hook)
        sys.excepthook = hook
        raise ValueError("mine")
        """,
    "what it left for the end": """
        import atexit, sys, threading, time
        atexit.register(lambda: print("at exit", sys.last_type.__name__, len(list(walk(sys.last_traceback)))))
        def walk(trace):
            while trace is not None:
                yield trace
                trace = trace.tb_next
        threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
        raise RuntimeError
        """,
    "a signal": "import os; os.kill(os.getpid(), 15)",
    "processes of its own": """
        import multiprocessing, os, subprocess, sys
        def work(queue):
            queue.put((sys.flags[:], sys.argv, os.environ["KIRBY_ATTEMPT"]))
        if __name__ == "__main__":
            for method in ("spawn", "fork"):
                context = multiprocessing.get_context(method)
                queue = context.Queue()
                process = context.Process(target=work, args=(queue,))
                process.start()
                print(method, queue.get())
                process.join()
                print(process.exitcode)
            print(subprocess.check_output([sys.executable, "-c", "import os; print(os.environ['GREETING'])"]))
        """,
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_an_armed_script_ends_as_a_plain_one(ending: str, tmp_path: Path) -> None:
    argv = commands(tmp_path, ENDINGS[ending])["script"]
    env = startup(tmp_path) | {"GREETING": "hello"}
    plain = await asyncio.to_thread(
        subprocess.run, argv, env=env | {"KIRBY_ATTEMPT": "1"}, capture_output=True, stdin=subprocess.DEVNULL
    )
    bench, ended = await run(tmp_path / "armed", argv, env, "armed")
    code = ended["exit_code"] if ended["signal"] is None else -ended["signal"]
    assert (code, bench.text(STDOUT), bench.text(STDERR)) == (plain.returncode, plain.stdout, plain.stderr)


async def test_what_can_not_be_found_is_told_as_python_tells_it(tmp_path: Path) -> None:
    for number, command in enumerate((["-m", "not_there"], [str(tmp_path / "not-there")])):
        seen = []
        for how in ("plain", "armed"):
            argv = [sys.executable, *command]
            bench, ended = await run(tmp_path / f"{how}{number}", argv, startup(tmp_path), how)
            seen.append((ended["exit_code"], bench.text(STDERR)))
        assert seen[0] == seen[1]


async def waits(pid: int) -> list[bytes]:
    """The command line of the interpreter that waits, once it is executed."""

    def command_line() -> list[bytes]:
        shown = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return shown if b"armed.py" in b" ".join(shown) else []

    return await eventually(command_line, what="an interpreter that waits")


async def test_before_its_time_an_armed_interpreter_has_nothing_of_the_job(tmp_path: Path) -> None:
    argv = commands(tmp_path, "print('main')")["module"]
    witness = tmp_path / "imported"
    source = f"import time\nopen({str(witness)!r}, 'w').write(str(time.clock_gettime(time.CLOCK_BOOTTIME)))"
    (tmp_path / "site" / "looking" / "__init__.py").write_text(source)
    async with shim_bench(tmp_path) as bench:
        env = startup(tmp_path) | {"PASSWORD": "s3cret"}
        bench.assign("", argv=argv, env=env, **armed(argv, env))
        ready = await bench.until("ready")
        shown = await waits(ready["pid"])
        assert b"s3cret" not in b"".join(shown) + Path(f"/proc/{ready['pid']}/environ").read_bytes()
        bench.go(in_s=0.2)
        assert (await bench.until("ended"))["exit_code"] == 0
        assert float(witness.read_text()) >= bench.journal()["go"]["at"]


async def test_an_interpreter_that_dies_waiting_is_replaced_and_the_run_starts(tmp_path: Path) -> None:
    argv = commands(tmp_path, "print('main')")["script"]
    async with shim_bench(tmp_path) as bench:
        env = startup(tmp_path)
        bench.assign("", argv=argv, env=env, **armed(argv, env))
        ready = await bench.until("ready")
        await waits(ready["pid"])
        os.kill(ready["pid"], signal.SIGKILL)
        await eventually(lambda: start_time(ready["pid"]) is None)
        bench.go()
        ended = await bench.until("ended")
        assert (ended["exit_code"], bench.text(STDOUT)) == (0, b"main\n")
        assert ended["pid"] != ready["pid"]
        bench.check_log(ended)


async def test_an_interpreter_that_can_not_come_up_fails_as_a_plain_start_does(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        argv = ["/bin/false", "-m", "anything"]
        ended = await bench.run("", argv=argv, **armed(argv, startup(tmp_path)))
        assert (ended["exit_code"], ended["signal"]) == (1, None)
    (tmp_path / "run").rename(tmp_path / "first")
    async with shim_bench(tmp_path) as bench:
        argv = [str(tmp_path / "no-python"), "-m", "anything"]
        ended = await bench.run("", argv=argv, **armed(argv, startup(tmp_path)))
        assert ended["exit_code"] == 127
        assert b"could not be started: [Errno 2]" in bench.text(SYSTEM)


async def test_an_environment_that_no_pipe_holds_is_started_plainly(tmp_path: Path) -> None:
    argv = commands(tmp_path, "import os; print(len(os.environ['LONG']))")["script"]
    env = startup(tmp_path) | {"LONG": "x" * 100_000}
    async with shim_bench(tmp_path) as bench:
        bench.assign("", argv=argv, env=env, **armed(argv, env))
        assert not (await bench.until("ready"))["armed"]
        bench.go()
        assert (await bench.until("ended"))["exit_code"] == 0
        assert bench.text(STDOUT) == b"100000\n"


@pytest.mark.parametrize("end", ["abort", "worker", "shim", "stop"])
async def test_an_armed_interpreter_ends_with_whoever_no_longer_wants_it(end: str, tmp_path: Path) -> None:
    argv = commands(tmp_path, "print('never')")["script"]
    async with shim_bench(tmp_path) as bench:
        env = startup(tmp_path)
        bench.assign("", argv=argv, env=env, **armed(argv, env))
        ready = await bench.until("ready")
        await waits(ready["pid"])
        how: dict[str, Callable[[], object]] = {
            "abort": lambda: bench.shim.send({"t": "abort"}),
            "stop": lambda: bench.shim.send({"t": "stop", "why": "user", "grace_s": 5}),
            "worker": bench.shim.close,
            "shim": lambda: os.kill(int(bench.shim.pid or 0), signal.SIGKILL),
        }
        how[end]()
        await eventually(lambda: start_time(ready["pid"]) is None, what="the end of the interpreter")
        assert ("not_launched" in bench.journal()) == (end != "shim")
        assert "go" not in bench.journal()
        assert not any(f.stream == 1 for f in bench.spooled())


async def test_a_pair_that_gets_no_task_ends_with_its_worker(tmp_path: Path) -> None:
    argv = commands(tmp_path, "print('never')")["script"]
    async with shim_bench(tmp_path) as bench:
        bench.shim.send({"t": "load", "nice": 0, "run_as": None} | armed(argv, startup(tmp_path)))
        pids = await eventually(lambda: children(bench.shim.pid), what="an interpreter")
        await waits(pids[0])
        bench.shim.close()
        await eventually(lambda: start_time(pids[0]) is None, what="its end")


def children(pid: int | None) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
