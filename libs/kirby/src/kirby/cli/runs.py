"""`kirby runs`: list, look at, stop and repeat runs."""

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.client import ref
from kirby.cli.errors import UsageError
from kirby.cli.options import Force, Home, Output, connect
from kirby.cli.run_orders import OVER, STARTED, WAITING, Chosen, Order, ordered, print_short
from kirby.cli.run_refs import code_of, ended, is_ahead, run_id_of
from kirby.cli.show import Column, cell, local_time, print_item, print_items, print_table

app: App = App(name="runs", help="List runs, newest first; look at one, stop it, or run it again.")

Run = Annotated[str, Parameter(help="A run's id, its first characters, or JOB@ENV for the newest one.")]
Runs = Annotated[str, Parameter(help="Runs: ids, their first characters, or JOB@ENV for the newest ones.")]
Reason = Annotated[str | None, Parameter(help="Why; kept with the run.")]

_COLUMNS: list[Column] = [
    ("RUN", lambda run: run["run_id"][:13]),
    ("JOB", "job"),
    ("ENV", "env"),
    ("STATUS", "status"),
    ("DUE", lambda run: due_in_words(run)),
    ("TOOK", lambda run: "" if run.get("duration_s") is None else f"{run['duration_s']:.2f} s"),
    ("VERSION", "package_version"),
    ("WORKER", "worker"),
    ("WHY", "reason"),
]


@app.default
@app.command(name="list")
def list_runs(
    *,
    job: str | None = None,
    env: str | None = None,
    status: Annotated[str | None, Parameter(help="One or several, joined by commas, for example FAILED,LOST.")] = None,
    kind: Annotated[str | None, Parameter(help="schedule, manual, daemon, rerun, backfill, child.")] = None,
    namespace: str | None = None,
    label: Annotated[str | None, Parameter(help="KEY=VALUE.")] = None,
    parent: Annotated[str | None, Parameter(help="Those that follow this run: its successors and reruns.")] = None,
    since: Annotated[str | None, Parameter(help="An instant such as 2026-03-01T12:00:00Z.")] = None,
    ahead: Annotated[bool, Parameter(negative="", help="Also those that only wait for their due time.")] = False,
    limit: Annotated[int, Parameter(name=["--limit", "-n"], help="How many at most.")] = 20,
    home: Home = None,
    output: Output = "table",
) -> None:
    """List runs, newest first."""
    with connect(home) as client:
        found = client.pages(
            "/runs", job=job, env=env, status=status, kind=kind, namespace=namespace, label=label, since=since,
            parent=None if parent is None else run_id_of(client, parent),
        )  # fmt: skip
        now = datetime.now(UTC)
        shown = (run for run in found if ahead or status or not is_ahead(run, now=now))
        print_items(itertools.islice(shown, limit), _COLUMNS, output=output, none="No runs.")


@app.command
def show(run: Run, /, *, home: Home = None, output: Output = "table") -> None:
    """Show one run with its attempts."""
    with connect(home) as client:
        _print(client.get(f"/runs/{ref(run_id_of(client, run))}"), output=output)


@app.command
def cancel(
    *runs: Runs,
    choice: Chosen | None = None,
    reason: Reason = None,
    yes: Force = False,
    home: Home = None,
    output: Output = "table",
) -> int:
    """Take back runs that have not started; without RUN those that the options choose, after asking."""
    body = {"reason": reason} if reason else {}
    return ordered(runs, choice, Order("cancel", WAITING, body), yes=yes, home=home, output=output)


@app.command
def kill(
    *runs: Runs,
    choice: Chosen | None = None,
    reason: Reason = None,
    yes: Force = False,
    home: Home = None,
    output: Output = "table",
) -> int:
    """End runs, started or not; without RUN those that the options choose, after asking."""
    body = {"reason": reason} if reason else {}
    return ordered(runs, choice, Order("kill", WAITING + STARTED, body), yes=yes, home=home, output=output)


@app.command
def rerun(
    *runs: Runs,
    choice: Chosen | None = None,
    wait: Annotated[bool, Parameter(negative="", help="Wait for the end of the one; exit with its code.")] = False,
    key: Annotated[str | None, Parameter(help="The same key again gives the same runs, not more of them.")] = None,
    yes: Force = False,
    home: Home = None,
    output: Output = "table",
) -> int:
    """Run again with the same inputs, as new runs that are flagged; without RUN those that the options choose."""
    if not wait:
        return ordered(runs, choice, Order("rerun", OVER, {}, key=key), yes=yes, home=home, output=output)
    if len(runs) != 1:
        raise UsageError("--wait is for one RUN: leave it out, or name the run")
    with connect(home) as client:
        made = ended(client, client.post(f"/runs/{ref(run_id_of(client, runs[0]))}/rerun", key=key))
    print_short(made, output=output)
    return code_of(made)


def due_in_words(run: Mapping[str, Any]) -> Any:
    """When a run was due; of a row that stands for many: from when to when, and how many."""
    due = run.get("due_at") or run.get("created_at")
    if not run.get("range_to"):
        return due
    return f"{local_time(str(due))} – {local_time(run['range_to'])} ({run['range_count']} due times)"


def _print(run: Mapping[str, Any], *, output: str) -> None:
    attempts = run.get("attempts") or []
    print_item(run if output == "json" else {k: v for k, v in run.items() if k != "attempts"}, output=output)
    if output != "json" and attempts:
        print()
        names = ["attempt", "status", "worker", "started_at", "ended_at", "exit_code", "reason"]
        print_table([[cell(a.get(n)) for n in names] for a in attempts], [n.upper() for n in names])
