"""`kirby backfills`: list them, look at one, pause, resume, cancel."""

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.backfill_progress import code_of, progress, told, watched
from kirby.cli.client import Client, ref
from kirby.cli.errors import CommandError, ExitCode, UsageError
from kirby.cli.options import Home, Output, connect
from kirby.cli.show import Column, print_item, print_items

app: App = App(name="backfills", help="Backfills: runs for past due times. `kirby backfill JOB` starts one.")

Which = Annotated[str, Parameter(help="A backfill's id, or the beginning of it.")]
Reason = Annotated[str | None, Parameter(help="Why; kept with the backfill.")]

_COLUMNS: list[Column] = [
    ("BACKFILL", lambda b: b["id"][:8]),
    ("JOB", "job"),
    ("ENV", "env"),
    ("FROM", "from"),
    ("TO", "to"),
    ("STATE", "state"),
    ("PROGRESS", lambda b: progress(b).split(" ", 1)[1]),
    ("BY", "requested_by"),
    ("WHY", "reason"),
]


@app.default
@app.command(name="list")
def list_backfills(
    *,
    job: str | None = None,
    env: str | None = None,
    state: Annotated[str | None, Parameter(help="running, paused, cancelled or done.")] = None,
    limit: Annotated[int, Parameter(name=["--limit", "-n"], help="How many at most.")] = 20,
    home: Home = None,
    output: Output = "table",
) -> None:
    """List the backfills, newest first."""
    with connect(home) as client:
        items = client.pages("/backfills", job=job, env=env, state=state, most=limit)
        print_items(items, _COLUMNS, output=output, none="No backfills.")


@app.command
def show(
    backfill: Which,
    /,
    *,
    follow: Annotated[
        bool, Parameter(name=["--follow", "-f"], negative="", help="Watch it to its end; exit 1 unless all succeeded.")
    ] = False,
    home: Home = None,
    output: Output = "table",
) -> int:
    """Show one backfill with its progress."""
    with connect(home) as client:
        found = client.get(f"/backfills/{ref(_id_of(client, backfill))}")
        if follow:
            found = watched(client, found)
    if output == "json":
        print_item(found, output=output)
    else:
        print(progress(found))
        print_item({name: value for name, value in found.items() if name != "running"}, output=output)
    return code_of(found) if follow else 0


@app.command
def pause(backfill: Which, /, *, reason: Reason = None, home: Home = None, output: Output = "table") -> None:
    """Start no more of its runs; those that have started go on."""
    _order(backfill, "pause", {"reason": reason} if reason else {}, home=home, output=output)


@app.command
def resume(backfill: Which, /, *, home: Home = None, output: Output = "table") -> None:
    """Go on with a paused backfill."""
    _order(backfill, "resume", {}, home=home, output=output)


@app.command
def cancel(
    backfill: Which,
    /,
    *,
    kill: Annotated[bool, Parameter(negative="", help="Kill the runs that have started too.")] = False,
    reason: Reason = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Take back its runs that wait; those that have started go on, unless --kill."""
    _order(backfill, "cancel", {"kill": kill} | ({"reason": reason} if reason else {}), home=home, output=output)


def _order(backfill: str, order: str, body: Mapping[str, Any], *, home: Any, output: str) -> None:
    with connect(home) as client:
        answer = client.post(f"/backfills/{ref(_id_of(client, backfill))}/{order}", body)
    if output == "json":
        return print_item(answer, output=output)
    print(told(answer))
    if answer["running"]:
        verb = "are being killed" if body.get("kill") else "go on (starting, too late)"
        print(f"{len(answer['running'])} {verb}: {', '.join(answer['running'])}")


def _id_of(client: Client, text: str) -> str:
    wanted = text.strip().lower()
    if len(wanted) == 36:
        return wanted
    found = [b["id"] for b in client.pages("/backfills", most=1000) if b["id"].startswith(wanted)]
    if not found:
        raise CommandError(f"There is no backfill {text}: `kirby backfills` lists them", ExitCode.NOT_FOUND)
    if len(found) > 1:
        raise UsageError(f"{text} is the beginning of {len(found)} backfills: give more of it")
    return str(found[0])
