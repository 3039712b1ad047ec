"""`kirby backfill`: run the past due times of a job."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from kirby.cli.backfill_progress import code_of, told, watched
from kirby.cli.errors import UsageError
from kirby.cli.moments import moment
from kirby.cli.options import Force, Home, Output, connect
from kirby.cli.show import cell, print_item, print_table

app: App = App(name="backfill", help="Run the past due times of a job, a few at a time.")


@app.default
def backfill(
    job: Annotated[str, Parameter(help="The job.")],
    /,
    *,
    env: Annotated[str, Parameter(help="Its environment.")],
    from_: Annotated[
        str,
        Parameter(name="--from", allow_leading_hyphen=True, help="The first instant: 2026-03-01, or -7d for a week."),
    ],
    to: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="The instant at which the range has ended; default now.")
    ] = None,
    concurrency: Annotated[int, Parameter(help="How many of its runs at a time.")] = 1,
    order: Annotated[Literal["oldest", "newest"], Parameter(help="Which due times come first.")] = "oldest",
    existing: Annotated[
        Literal["leave", "failed", "anew"],
        Parameter(help="Due times that have runs: leave them; run those that failed again; or run all again."),
    ] = "leave",
    rerun: Annotated[bool, Parameter(negative="", help="Flag its runs as re-runs.")] = False,
    preview: Annotated[bool, Parameter(negative="", help="Only show what it would run.")] = False,
    follow: Annotated[
        bool, Parameter(name=["--follow", "-f"], negative="", help="Watch it to its end; exit 1 unless all succeeded.")
    ] = False,
    yes: Force = False,
    home: Home = None,
    output: Output = "table",
) -> int:
    """Run the past due times of a job, a few at a time; on a terminal it asks first."""
    body = {
        "job": job,
        "env": env,
        "from": moment(from_, option="--from"),
        "to": None if to is None else moment(to, option="--to"),
        "concurrency": concurrency,
        "order": order,
        "existing": existing,
        "rerun": rerun,
    }
    with connect(home) as client:
        if preview:
            _show(client.post("/backfills/preview", body, timeout=120), output=output)
            return 0
        if not yes and sys.stdin.isatty():
            _ask(client.post("/backfills/preview", body, timeout=120))
        made = client.post("/backfills", body, timeout=120)
        if output != "json":
            print(made["id"] if not follow else told(made))
        if follow:
            made = watched(client, made)
    if output == "json":
        print_item(made, output=output)
    elif follow:
        print(told(made))
    return code_of(made) if follow else 0


def _ask(preview: Mapping[str, Any]) -> None:
    print(_sentence(preview), file=sys.stderr)
    if input("Start it? [y/N]: ").strip().lower() not in {"y", "yes"}:
        raise UsageError("Nothing was started")


def _sentence(preview: Mapping[str, Any]) -> str:
    left = f", {preview['left_alone']} have runs already and are left alone" if preview["left_alone"] else ""
    waits = f"; none could start now: {preview['waits_for']}" if preview["waits_for"] else ""
    return f"{preview['job']}@{preview['env']}: {preview['total']} due times, {preview['to_run']} to run{left}{waits}"


def _show(preview: Mapping[str, Any], *, output: str) -> None:
    if output == "json":
        return print_item(preview, output=output)
    print(_sentence(preview))
    gap = preview["total"] - len(preview["first"]) - len(preview["last"])
    between = [["…", f"{gap} more", ""]] if gap > 0 else []
    rows = [*map(_row, preview["first"]), *between, *map(_row, preview["last"])]
    print_table(rows, ["DUE", "WHAT", "RUN"])


def _row(due: Mapping[str, Any]) -> list[str]:
    what = "run" if due["runs"] else "left alone"
    there = f" ({due['status']} already)" if due["status"] else ""
    return [cell(due["due_at"]), what + there, (due["run_id"] or "")[:13]]
