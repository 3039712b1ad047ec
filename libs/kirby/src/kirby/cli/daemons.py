"""`kirby daemons`: how the daemons are, and a new start for them."""

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.client import Client
from kirby.cli.errors import CommandError, ExitCode, UsageError
from kirby.cli.options import Home, Output, connect
from kirby.cli.show import Column, print_item, print_items

app: App = App(name="daemons", help="Daemons: how each replica is, and a new start.")

Job = Annotated[str, Parameter(help="The job, or JOB@ENV.")]
Env = Annotated[str | None, Parameter(help="The environment; not needed when the job is a daemon in one only.")]

_COLUMNS: list[Column] = [
    ("JOB", "job"),
    ("ENV", "env"),
    ("HEALTH", "health"),
    ("LIVE", lambda d: f"{d['live']} of {d['wanted']}"),
    ("VERSION", "version"),
    ("LAG", "lag"),
    ("RESTARTS", "restarts"),
    ("WHY", "reason"),
]
_SLOTS: list[Column] = [
    ("SLOT", "slot"),
    ("STATE", "state"),
    ("HEALTH", "health"),
    ("GENERATION", "generation"),
    ("VERSION", "version"),
    ("WORKER", "worker"),
    ("RESTARTS", "restarts"),
    ("CRASHES", "crashes"),
    ("RUN", "run_id"),
    ("WHY", "reason"),
]


@app.default
@app.command(name="list")
def list_daemons(
    *,
    job: str | None = None,
    env: str | None = None,
    health: Annotated[str | None, Parameter(help="Only these: healthy, starting, stalled, down …")] = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """List the daemons."""
    with connect(home) as client:
        items = client.get("/daemons", job=job, env=env, health=health)["items"]
    print_items(items, _COLUMNS, output=output, none="No daemons: `kirby deploy FILE --job NAME --daemon` makes one.")


@app.command
def show(job: Job, /, *, env: Env = None, home: Home = None, output: Output = "table") -> None:
    """Show one daemon with its replicas."""
    with connect(home) as client:
        daemon = _named(client, job, env)
    if output == "json":
        return print_item(daemon, output=output)
    print_item({name: value for name, value in daemon.items() if name != "slots"}, output=output)
    print()
    print_items(daemon["slots"], _SLOTS, output=output, none="No replicas yet.")


@app.command
def restart(
    job: Job,
    /,
    *,
    env: Env = None,
    slot: Annotated[int | None, Parameter(help="Only this replica.")] = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Begin a new generation, also of what finished or is in a crash loop; the old one drains."""
    with connect(home) as client:
        daemon = _named(client, job, env)
        asked = {"job": daemon["job"], "env": daemon["env"], "slot": slot}
        answer = client.post("/daemons/restart", asked)
    if output == "json":
        return print_item(answer, output=output)
    print(f"Restarting {daemon['job']} in {daemon['env']}")


def _named(client: Client, job: str, env: str | None) -> Mapping[str, Any]:
    """The daemon that the words name. Raises `CommandError` when there is none or there are several."""
    name, at, inner = job.rpartition("@")
    if at and env is None:
        found = client.get("/daemons", job=name, env=inner)["items"]
        if found:
            return found[0]  # type: ignore[no-any-return]
    found = client.get("/daemons", job=job, env=env)["items"]
    if not found:
        where = f" in {env}" if env else ""
        raise CommandError(f"There is no daemon {job}{where}: `kirby daemons list` names them", ExitCode.NOT_FOUND)
    if len(found) > 1:
        raise UsageError(f"{job} is a daemon in {', '.join(d['env'] for d in found)}: say which with --env")
    return found[0]  # type: ignore[no-any-return]
