"""`kirby trigger`: run a job now."""

import contextlib
import sys
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.client import Client, ref
from kirby.cli.log_lines import Ended, follow
from kirby.cli.logs import flushed, print_lines
from kirby.cli.options import Home, Output, connect, pairs
from kirby.cli.run_refs import code_of, ended, told
from kirby.cli.show import print_json

app: App = App(name="trigger", help="Run a job now; --wait for its end, --follow its lines.")


@app.default
def trigger(
    job: str,
    /,
    *args: Annotated[str, Parameter(allow_leading_hyphen=True, help="Arguments for the script, after --.")],
    env: Annotated[str, Parameter(help="The environment to run it in.")],
    wait: Annotated[bool, Parameter(negative="", help="Wait for the end; exit with the script's code.")] = False,
    follow_: Annotated[
        bool, Parameter(name=["--follow", "-f"], negative="", help="Print its lines as they come; waits too.")
    ] = False,
    var: Annotated[list[str] | None, Parameter(negative="", help="NAME=VALUE for this run only; repeatable.")] = None,
    key: Annotated[str | None, Parameter(help="An idempotency key: the same one again gives the same run.")] = None,
    home: Home = None,
    output: Output = "table",
) -> int:
    """Run a job now and print the run's id. Exits with the script's code when it waited, else 0."""
    with connect(home) as client:
        body = {"job": job, "env": env, "variables": pairs(var or [], option="--var")}
        run = client.post("/runs", body | ({"args": list(args)} if args else {}), key=key)
        if follow_:
            print(f"{job}@{env}: run {run['run_id']}", file=sys.stderr)
            run = followed(client, run["run_id"])
        elif wait:
            run = ended(client, run)
    if output == "json":
        print_json(run)
    elif wait or follow_:
        print(told(run), file=sys.stderr)
    else:
        print(run["run_id"])
    return code_of(run) if wait or follow_ else 0


def followed(client: Client, run_id: str) -> dict[str, Any]:
    """Print a run's lines until it ends; the run as it is then."""
    with contextlib.suppress(Ended):
        print_lines(flushed(follow(client, run_id)), times=False, output="table")
    found: dict[str, Any] = client.get(f"/runs/{ref(run_id)}")
    return found
