"""What the commands on every kind of thing in the script database have in common: list, show, remove, history."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.client import ref
from kirby.cli.errors import UsageError
from kirby.cli.options import Force, Home, Output, connect
from kirby.cli.show import Column, print_item, print_items

Ref = Annotated[str, Parameter(help="A name or an id.")]


@dataclass(frozen=True)
class Resource:
    """One kind: its path in the REST API, a noun for sentences, and the columns of its table."""

    path: str
    noun: str
    columns: Sequence[Column]

    def app(self, name: str, *, help: str) -> App:
        """An App with the commands that need no fields of the kind's own."""
        app = App(name=name, help=help)
        app.command(self._show, name="show", help=f"Show one {self.noun}.")
        app.command(self._remove, name="remove", help=f"Remove a {self.noun}.")
        app.command(self._history, name="history", help=f"List every change of a {self.noun}: who, when, what.")
        return app

    def list(self, *, home: Any, output: str, **filters: Any) -> None:
        with connect(home) as client:
            none = f"No {self.noun}s."
            print_items(client.pages(f"/{self.path}", **filters), self.columns, output=output, none=none)

    def add(self, body: Mapping[str, Any], *, home: Any, output: str) -> None:
        """POST the fields that were given."""
        with connect(home) as client:
            self._told("Added", client.post(f"/{self.path}", given(body)), output=output)

    def set(self, name: str, body: Mapping[str, Any], *, home: Any, output: str) -> None:
        """PATCH the fields that were given."""
        changes = given(body)
        if not changes:
            raise UsageError(f"Nothing to change in {name}: give at least one option")
        with connect(home) as client:
            self._told("Changed", client.patch(f"/{self.path}/{ref(name)}", changes), output=output)
            too_late = client.headers.get("X-Kirby-Too-Late")
        if too_late:
            print(f"Starting, too late for this change: {too_late}", file=sys.stderr)

    def _show(self, name: Ref, /, *, home: Home = None, output: Output = "table") -> None:
        with connect(home) as client:
            print_item(client.get(f"/{self.path}/{ref(name)}"), output=output)

    def _remove(self, name: Ref, /, *, yes: Force = False, home: Home = None) -> None:
        if not yes and sys.stdin.isatty():
            answer = input(f"Remove the {self.noun} {name}? [y/N]: ")
            if answer.strip().lower() not in {"y", "yes"}:
                raise UsageError(f"{name} was not removed")
        with connect(home) as client:
            client.delete(f"/{self.path}/{ref(name)}")
        print(f"Removed {name}")

    def _history(self, name: Ref, /, *, home: Home = None, output: Output = "table") -> None:
        columns: Sequence[Column] = [("REV", "rev"), ("AT", "at"), ("WHO", "author"), ("WHAT", "action"), ("", _facts)]
        with connect(home) as client:
            items = client.get(f"/{self.path}/{ref(name)}/revisions")["items"]
        print_items(items, columns, output=output, none="No changes.")

    def _told(self, verb: str, item: Mapping[str, Any], *, output: str) -> None:
        if output == "json":
            print_item(item, output=output)
        else:
            label = item.get("name") or (f"{item['job']}@{item['env']}" if "env" in item else item["id"])
            print(f"{verb} {self.noun} {label}")


def _facts(revision: Mapping[str, Any]) -> dict[str, Any]:
    """What a revision says of the thing, without what says nothing."""
    value = revision.get("value") or {}
    return {name: fact for name, fact in value.items() if name not in ("id", "rev") and fact not in (None, [], {}, "")}


def given(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were said on the command line."""
    return {name: value for name, value in body.items() if value is not None}
