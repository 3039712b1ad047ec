"""`kirby rewinds`: list them, look at one, pause, resume, cancel, throttle; compare, promote or drop a shadow."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.client import Client, ref
from kirby.cli.errors import CommandError, ExitCode, UsageError
from kirby.cli.options import Force, Home, Output, connect
from kirby.cli.rewind_comparison import sentences
from kirby.cli.rewind_progress import code_of, progress, told, watched
from kirby.cli.show import Column, print_item, print_items

app: App = App(name="rewinds", help="Rewinds: messages that are processed again. `kirby rewind TOPIC` starts one.")

Which = Annotated[str, Parameter(help="A rewind's id, or the beginning of it.")]
Detach = Annotated[bool, Parameter(negative="", help="Do not wait until it is done.")]
Reason = Annotated[str | None, Parameter(help="Why; kept with the rewind.")]

_COLUMNS: list[Column] = [
    ("REWIND", lambda r: r["id"][:8]),
    ("JOB", "job"),
    ("ENV", "env"),
    ("MODE", "mode"),
    ("TARGET", "target"),
    ("FROM", "from"),
    ("PROGRESS", lambda r: progress(r).split(" ", 1)[1]),
    ("BY", "requested_by"),
    ("WHY", "reason"),
]


@app.default
@app.command(name="list")
def list_rewinds(
    *,
    job: str | None = None,
    env: str | None = None,
    state: Annotated[str | None, Parameter(help="Such as running, ready, done or failed.")] = None,
    limit: Annotated[int, Parameter(name=["--limit", "-n"], help="How many at most.")] = 20,
    home: Home = None,
    output: Output = "table",
) -> None:
    """List the rewinds, newest first."""
    with connect(home) as client:
        items = client.pages("/rewinds", job=job, env=env, state=state, most=limit)
        print_items(items, _COLUMNS, output=output, none="No rewinds.")


@app.command
def show(
    rewind: Which,
    /,
    *,
    follow: Annotated[
        bool, Parameter(name=["--follow", "-f"], negative="", help="Watch it to its end; exit 1 unless it is done.")
    ] = False,
    home: Home = None,
    output: Output = "table",
) -> int:
    """Show one rewind with its progress."""
    with connect(home) as client:
        found: Mapping[str, Any] = client.get(f"/rewinds/{ref(_id_of(client, rewind))}")
        if follow:
            (found,) = watched(client, [found])
    if output != "json":
        print(progress(found))
    print_item(found, output=output)
    return code_of([found]) if follow else 0


@app.command
def pause(rewind: Which, /, *, reason: Reason = None, home: Home = None, output: Output = "table") -> None:
    """Drain its replicas and keep them down until it is resumed; live messages wait."""
    _order(rewind, "pause", {"reason": reason} if reason else {}, home=home, output=output)


@app.command
def resume(rewind: Which, /, *, home: Home = None, output: Output = "table") -> None:
    """Go on with a paused rewind."""
    _order(rewind, "resume", {}, home=home, output=output)


@app.command
def cancel(rewind: Which, /, *, reason: Reason = None, home: Home = None, output: Output = "table") -> None:
    """Go on live where the group was before."""
    _order(rewind, "cancel", {"reason": reason} if reason else {}, home=home, output=output)


@app.command
def throttle(
    rewind: Which,
    /,
    *,
    rate: Annotated[float | None, Parameter(help="So many messages a second at most; without it, no limit.")] = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Change how many messages a second it may process; its replicas start anew for that."""
    _order(rewind, "throttle", {"rate": rate}, home=home, output=output)


@app.command
def compare(
    rewind: Which,
    /,
    *,
    again: Annotated[bool, Parameter(negative="", help="Compare anew, with what is there now.")] = False,
    home: Home = None,
    output: Output = "table",
) -> int:
    """Show how what a rewind in shadow made compares with what was there before; exit 1 unless it could be compared."""
    with connect(home) as client:
        path = f"/rewinds/{ref(_id_of(client, rewind))}"
        found: Mapping[str, Any] = client.post(f"{path}/compare", {}) if again else client.get(path)
        if found["state"] == "comparing":
            (found,) = watched(client, [found])
    if found["comparison"] is None or (again and found["reason"]):
        raise CommandError(f"There is no comparison: {told(found)}")
    if output == "json":
        print_item(found["comparison"], output=output)
    else:
        for line in sentences(found["comparison"]):
            print(line)
    return 0


@app.command
def promote(
    rewind: Which, /, *, detach: Detach = False, yes: Force = False, home: Home = None, output: Output = "table"
) -> int:
    """Append what a rewind in shadow sent to the originals, flagged as a re-run, and set what it set in States."""
    return _decide(rewind, "promote", into="promoted", detach=detach, yes=yes, home=home, output=output)


@app.command
def drop(
    rewind: Which, /, *, detach: Detach = False, yes: Force = False, home: Home = None, output: Output = "table"
) -> int:
    """Delete what a rewind in shadow made."""
    return _decide(rewind, "drop", into="dropped", detach=detach, yes=yes, home=home, output=output)


def _decide(rewind: str, order: str, *, into: str, detach: bool, yes: bool, home: Any, output: str) -> int:
    with connect(home) as client:
        path = f"/rewinds/{ref(_id_of(client, rewind))}"
        if not yes and sys.stdin.isatty():
            print(told(client.get(path)), file=sys.stderr)
            if input(f"{order.capitalize()} it? [y/N]: ").strip().lower() not in {"y", "yes"}:
                raise UsageError("Nothing was changed")
        found: Mapping[str, Any] = client.post(f"{path}/{order}", {})
        if not detach:
            (found,) = watched(client, [found])
    if output == "json":
        print_item(found, output=output)
    else:
        print(told(found))
    return 0 if detach or found["state"] == into else ExitCode.FAILED


def _order(rewind: str, order: str, body: Mapping[str, Any], *, home: Any, output: str) -> None:
    with connect(home) as client:
        answer = client.post(f"/rewinds/{ref(_id_of(client, rewind))}/{order}", body)
    if output == "json":
        return print_item(answer, output=output)
    print(told(answer))


def _id_of(client: Client, text: str) -> str:
    wanted = text.strip().lower()
    if len(wanted) == 36:
        return wanted
    found = [r["id"] for r in client.pages("/rewinds", most=1000) if r["id"].startswith(wanted)]
    if not found:
        raise CommandError(f"There is no rewind {text}: `kirby rewinds` lists them", ExitCode.NOT_FOUND)
    if len(found) > 1:
        raise UsageError(f"{text} is the beginning of {len(found)} rewinds: give more of it")
    return str(found[0])
