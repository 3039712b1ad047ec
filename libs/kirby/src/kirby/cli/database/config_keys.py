"""`kirby config-keys`: environment variables of scripts; the narrower scope wins."""

from typing import Annotated

from cyclopts import App, Parameter

from kirby.cli.client import Client
from kirby.cli.database.resource import Resource
from kirby.cli.errors import CommandError, ExitCode
from kirby.cli.options import Home, Output, connect

_keys = Resource(
    "config-keys",
    "config key",
    [
        ("NAME", "name"),
        ("VALUE", "value"),
        ("SCOPE", "scope"),
        ("JOB", "job"),
        ("ENV", "env"),
        ("ID", "id"),
    ],
)
app: App = _keys.app(
    "config-keys", help="The variables that scripts get: global, of a job, or of a job in an environment."
)

Job = Annotated[str | None, Parameter(help="Only for this job.")]
Env = Annotated[str | None, Parameter(help="Only for the job in this environment.")]
Value = Annotated[str, Parameter(allow_leading_hyphen=True, help="Its value, or secret://PATH#FIELD.")]


@app.default
@app.command(name="list")
def list_keys(
    *, job: Job = None, env: Env = None, name: str | None = None, home: Home = None, output: Output = "table"
) -> None:
    """List the config keys."""
    _keys.list(home=home, output=output, job=job, env=env, name=name)


@app.command
def add(
    name: str, value: Value, /, *, job: Job = None, env: Env = None, home: Home = None, output: Output = "table"
) -> None:
    """Add a config key; global without --job."""
    _keys.add({"name": name, "value": value, "job": job, "env": env}, home=home, output=output)


@app.command(name="set")
def set_key(
    name: str, value: Value, /, *, job: Job = None, env: Env = None, home: Home = None, output: Output = "table"
) -> None:
    """Change the value of a config key; runs that start later get it."""
    with connect(home) as client:
        found = _id_of(client, name, job=job, env=env)
    _keys.set(found, {"value": value}, home=home, output=output)


def _id_of(client: Client, name: str, *, job: str | None, env: str | None) -> str:
    """The id of the key in exactly this scope (an id is taken as it is)."""
    scope = "global" if job is None else "job" if env is None else "context"
    for key in client.pages("/config-keys"):
        if key["id"] == name:
            return name
        if (key["name"], key["scope"], key["job"], key["env"]) == (name, scope, job, env):
            return str(key["id"])
    where = "globally" if job is None else f"for {job}" if env is None else f"for {job}@{env}"
    raise CommandError(f"There is no config key {name} {where}: `kirby config-keys add` makes one", ExitCode.NOT_FOUND)
