"""`kirby limits`."""

from typing import Annotated

from cyclopts import App, Parameter

from kirby.cli.database.resource import Ref, Resource
from kirby.cli.options import Home, Output

_limits = Resource(
    "limits",
    "limit",
    [
        ("NAME", "name"),
        ("TAKEN", lambda limit: f"{limit['taken']} of {limit['places']}"),
        ("WAITING", "waiting"),
        ("PER", "key"),
        ("JOBS", "jobs"),
        ("DESCRIPTION", "description"),
    ],
)
app: App = _limits.app("limits", help="Limits: how many runs at once may use something that they share.")

Key = Annotated[
    str | None,
    Parameter(
        name="--key",
        help="Count each value of this by itself: job, env, namespace, labels.NAME, variables.NAME, args.0.",
    ),
]
Description = Annotated[str | None, Parameter(help="What is shared.")]


@app.default
@app.command(name="list")
def list_limits(*, home: Home = None, output: Output = "table") -> None:
    """List the limits, and how full they are."""
    _limits.list(home=home, output=output)


@app.command
def add(
    name: str,
    /,
    *,
    places: Annotated[int, Parameter(help="How many runs at once.")],
    key: Key = None,
    description: Description = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Add a limit; `kirby jobs set JOB --policy limits=NAME` makes a job's runs take a place in it."""
    _limits.add({"name": name, "places": places, "key": key, "description": description}, home=home, output=output)


@app.command(name="set")
def set_limit(
    name: Ref,
    /,
    *,
    places: Annotated[int | None, Parameter(help="How many runs at once; what runs goes on.")] = None,
    key: Key = None,
    description: Description = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Change a limit."""
    _limits.set(name, {"places": places, "key": key, "description": description}, home=home, output=output)
