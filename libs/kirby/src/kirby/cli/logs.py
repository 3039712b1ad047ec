"""`kirby logs`: what a run printed, and what it is printing now."""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated

from cyclopts import App, Parameter

from kirby.cli.client import Client
from kirby.cli.errors import UsageError
from kirby.cli.log_lines import Ended, Line, download, follow, follow_all, stored, text_of
from kirby.cli.options import Home, Output, connect
from kirby.cli.run_refs import run_id_of, told
from kirby.cli.show import local_time

app: App = App(name="logs", help="Print what a run printed; -f goes on live until it ends.")

_SOURCE = {"stderr": "!", "system": "*"}


@app.default
def logs(
    run: Annotated[
        str | None,
        Parameter(help="A run's id, its first characters, or JOB@ENV for the newest one. Default: all runs."),
    ] = None,
    /,
    *,
    follow_: Annotated[bool, Parameter(name=["--follow", "-f"], negative="", help="Go on until the run ends.")] = False,
    job: Annotated[str | None, Parameter(help="Without RUN: only this job's runs.")] = None,
    env: Annotated[str | None, Parameter(help="Without RUN: only runs in this environment.")] = None,
    tail: Annotated[int | None, Parameter(name=["--tail", "-n"], help="Only the last N lines recorded so far.")] = None,
    level: Annotated[str | None, Parameter(help="Only lines of this level and above, for example WARNING.")] = None,
    times: Annotated[
        bool, Parameter(name=["--times", "-t"], negative="", help="Time and stream before lines.")
    ] = False,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Print the lines of a run, or, without RUN, those of all runs as they come (-f is meant then).

    With -f lines are printed as they come, over a restart of the api too.
    """
    with connect(home) as client:
        if run is None:
            lines = follow_all(client, job=job, env=env, level=level, backlog=20 if tail is None else tail)
            return print_all(lines, times=times, output=output)
        if job or env:
            raise UsageError("--job and --env are for the logs of all runs: leave out RUN, or them")
        run_id = run_id_of(client, run)
        if not follow_ and tail is None and level is None and not times and output == "table":
            return _dump(client, run_id)
        lines = _lines_of(client, run_id, tail=tail, level=level, follows=follow_)
        try:
            print_lines(lines, times=times, output=output)
        except Ended as ended:
            print(told(ended.run), file=sys.stderr)


def _lines_of(client: Client, run_id: str, *, tail: int | None, level: str | None, follows: bool) -> Iterator[Line]:
    """Stored lines, then, with `follows`, those that come until the run's end (raises Ended)."""
    after: str | None = None
    if not follows or tail is not None:
        for line in stored(client, run_id, tail=tail, level=level):
            # A line without its end yet comes again, whole, when the run is followed.
            if not (follows and line.get("open")):
                after = line["id"]
                yield line
    sys.stdout.flush()
    if follows:
        yield from flushed(follow(client, run_id, level=level, after=after))


def print_lines(lines: Iterable[Line], *, times: bool, output: str) -> None:
    """Print lines of one run as they come."""
    for line in lines:
        if output == "json":
            print(json.dumps(line, ensure_ascii=False))
        else:
            before = f"{local_time(line['t'])} {_SOURCE.get(line['stream'], ' ')} " if times else ""
            print(f"{before}{text_of(line)}")


def print_all(lines: Iterable[Line], *, times: bool, output: str) -> None:
    """Print lines of many runs, each with whose it is."""
    for line in flushed(lines):
        if output == "json":
            print(json.dumps(line, ensure_ascii=False))
        else:
            before = f"{local_time(line['t'])} " if times else ""
            print(f"{before}{line['job']}@{line['env']} | {text_of(line)}")


def _dump(client: Client, run_id: str) -> None:
    empty = True
    for chunk in download(client, run_id):
        empty = False
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
    if empty:
        print("It has printed nothing so far.", file=sys.stderr)


def flushed(lines: Iterable[Line]) -> Iterator[Line]:
    """Have each line on its way before the next one is waited for."""
    for line in lines:
        yield line
        sys.stdout.flush()
