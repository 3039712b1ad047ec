"""How late others start what is due at once, and the least that is possible here: interpreters that wait on a pipe."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from kirby.dev.parts import free_port

from bench.figure import Figure, p50
from bench.suite import ROOT, clean_environment, wait_for

PEERS = ROOT / "bench" / "peers"
WAITING = "import sys, time\nprint('up', flush=True)\nsys.stdin.readline()\nprint(time.time())\n"


def bare_limit() -> list[Figure]:
    return [
        Figure(f"bare limit, {count} at once: the last", max(_released(count)), "ms", samples=count)
        for count in (1, 50, 500)
    ]


def cron() -> list[Figure]:
    with _folder() as folder:
        return _measured("cron", lambda count: _cron(folder, count))


def celery() -> list[Figure]:
    with _folder() as folder:
        python = their_environment(folder)
        return _measured("Celery beat", lambda count: _celery(folder, python, count))


def apscheduler() -> list[Figure]:
    with _folder() as folder:
        python = their_environment(folder)
        return _measured("APScheduler 4", lambda count: _apscheduler(python, count))


def _measured(name: str, late_ms: Callable[[int], list[float]]) -> list[Figure]:
    figures = []
    for count in (1, 50):
        late = late_ms(count)
        figures.append(Figure(f"{name}, {count} at once: median", p50(late), "ms", samples=len(late)))
        figures.append(Figure(f"{name}, {count} at once: the last", max(late), "ms", samples=len(late)))
    return figures


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kirby-bench-peers-") as folder:
        yield Path(folder)


def _released(count: int) -> list[float]:
    """Milliseconds from before the first is released until each runs."""
    command = [sys.executable, "-I", "-S", "-c", WAITING]
    waiting = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) for _ in range(count)
    ]
    try:
        for process in waiting:
            assert process.stdout is not None
            process.stdout.readline()
        began = time.time()
        for process in waiting:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
        return [(float(process.communicate()[0]) - began) * 1000 for process in waiting]
    finally:
        for process in waiting:
            process.kill()
            process.wait()


def their_environment(folder: Path) -> Path:
    """Their packages, pinned, in an environment that is not ours."""
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    wanted = PEERS / "requirements.txt"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "-r", wanted], check=True)
    return python


def _apscheduler(python: Path, count: int) -> list[float]:
    command = [str(python), str(PEERS / "apscheduler_at.py"), str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=clean_environment())
    return [float(line) * 1000 for line in done.stdout.split()]


def _celery(folder: Path, python: Path, count: int) -> list[float]:
    seen = folder / f"celery-{count}"
    port = free_port()
    env = clean_environment() | {
        "BENCH_REDIS": f"redis://127.0.0.1:{port}/0",
        "BENCH_COUNT": str(count),
        "BENCH_SEEN": str(seen),
        "PYTHONPATH": str(PEERS),
    }
    celery = [str(python), "-m", "celery", "-A", "celery_tasks"]
    with (
        _running(["redis-server", "--port", str(port), "--save", ""], folder, env),
        _running([*celery, "worker", "--concurrency", "4"], folder, env),
        _running([*celery, "beat", "--schedule", str(folder / f"beat-{count}")], folder, env),
    ):
        return _at_the_minute(seen, count)


def _cron(folder: Path, count: int) -> list[float]:
    if os.geteuid() != 0 or shutil.which("cron") is None:
        raise RuntimeError("cron needs root, and to be installed (apt-get install cron)")
    had = subprocess.run(["crontab", "-l"], capture_output=True, check=False)
    if had.returncode == 0 and had.stdout.strip():
        raise RuntimeError("root has a crontab, which is left alone")
    seen = folder / f"cron-{count}"
    script = folder / "late.py"
    script.write_text("import sys, time\nnow = time.time()\nopen(sys.argv[1], 'a').write(f'{now % 60}\\n')\n")
    line = f"* * * * * {sys.executable} -I -S {script} {seen}\n"
    subprocess.run(["crontab", "-"], input=line * count, text=True, check=True)
    try:
        with _running(["cron", "-f"], folder, clean_environment()):
            return _at_the_minute(seen, count)
    finally:
        subprocess.run(["crontab", "-r"], check=False)


def _at_the_minute(seen: Path, count: int) -> list[float]:
    """Milliseconds after the full minute, of the first minute in which all of them ran."""
    time.sleep(3)  # Until it has begun.
    seen.unlink(missing_ok=True)
    wait_for(
        lambda: seen.exists() and len(seen.read_text().split()) >= count,
        what=f"{count} starts at the minute",
        timeout_s=90,
        every_s=0.2,
    )
    return [float(line) * 1000 for line in seen.read_text().split()[:count]]


@contextmanager
def _running(command: list[str], folder: Path, env: Mapping[str, str]) -> Iterator[None]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=dict(env), cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()
