"""`kirby envs`."""

from typing import Annotated

from cyclopts import App, Parameter

from kirby.cli.database.resource import Ref, Resource
from kirby.cli.options import Home, Output

_envs = Resource(
    "environments",
    "environment",
    [
        ("NAME", "name"),
        ("TOPIC PREFIX", "topic_prefix"),
        ("KAFKA", "kafka_bootstrap_servers"),
        ("PAUSED", lambda env: env["paused"] and (env["pause_reason"] or True)),
    ],
)
app: App = _envs.app("envs", help="Environments: prod, test, …: each with a prefix for its topics.")

Prefix = Annotated[str | None, Parameter(help="Put before the names of topics; default NAME., nothing for prod.")]
Servers = Annotated[str | None, Parameter(help="HOST:PORT,… of a Kafka of its own; default the suite's.")]


@app.default
@app.command(name="list")
def list_envs(*, home: Home = None, output: Output = "table") -> None:
    """List the environments."""
    _envs.list(home=home, output=output)


@app.command
def add(
    name: str, /, *, topic_prefix: Prefix = None, kafka: Servers = None, home: Home = None, output: Output = "table"
) -> None:
    """Add an environment."""
    body = {"name": name, "topic_prefix": topic_prefix, "kafka_bootstrap_servers": kafka}
    _envs.add(body, home=home, output=output)


@app.command(name="set")
def set_env(
    name: Ref,
    /,
    *,
    topic_prefix: Prefix = None,
    kafka: Servers = None,
    paused: Annotated[bool | None, Parameter(negative="--resumed", help="Pause or resume all its jobs.")] = None,
    reason: Annotated[str | None, Parameter(help="Why it is paused.")] = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Change an environment; pause or resume everything in it."""
    body = {
        "topic_prefix": topic_prefix,
        "kafka_bootstrap_servers": kafka,
        "paused": paused,
        "pause_reason": reason,
    }
    _envs.set(name, body, home=home, output=output)
