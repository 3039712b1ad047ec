"""The options that commands share."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from kirby.cli.client import Client
from kirby.cli.errors import UsageError
from kirby.cli.suite import find

Home = Annotated[
    Path | None,
    Parameter(name="--home", help="The home of a `kirby dev`; default KIRBY_HOME, or KIRBY_URL and KIRBY_TOKEN."),
]
Output = Annotated[Literal["table", "json"], Parameter(name=["--output", "-o"], help="How to print it.")]
Force = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")]


def connect(home: Path | None) -> Client:
    """A client for the suite that the options and the environment name."""
    return Client(find(home))


def pairs(given: list[str], *, option: str) -> dict[str, str]:
    """`K=V` options as a dict. Raises UsageError for one without `=`."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {text!r}: write it as NAME=VALUE")
        found[name] = value
    return found
