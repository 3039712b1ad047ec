"""`kirby topics`: what is registered of them, and what lies in them."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.client import Client, ref
from kirby.cli.database.resource import Ref, Resource
from kirby.cli.event_stream import LAST_ID, events
from kirby.cli.moments import moment
from kirby.cli.options import Home, Output, connect
from kirby.cli.show import Column, cell, print_items, print_json

_topics = Resource("topics", "topic", [("NAME", "name")])
app: App = _topics.app("topics", help="Topics: which there are, their messages, who reads them, what differs.")

Description = Annotated[str | None, Parameter(help="What its messages are.")]
Fresh = Annotated[str | None, Parameter(help="Tell when no message comes for so long, for example 1h.")]
Name = Annotated[str, Parameter(help="The topic's name, without the environment's prefix.")]
Env = Annotated[str, Parameter(help="The environment.")]
Number = Annotated[int | None, Parameter(help="Only of this partition.")]
Since = Annotated[
    str | None, Parameter(help="From this instant on: 2026-03-01T12:00Z, or -1h.", allow_leading_hyphen=True)
]

_COLUMNS: list[Column] = [
    ("NAME", "name"),
    ("ENV", lambda t: t["env"] or "(not in Kafka yet)"),
    ("PARTITIONS", "partitions"),
    ("MESSAGES", "messages"),
    ("NEWEST", "newest"),
    ("FRESH WITHIN", "fresh_within"),
    ("DESCRIPTION", "description"),
]
_MESSAGES: list[Column] = [
    ("PLACE", "place"),
    ("AT", "timestamp"),
    ("KEY", "key"),
    ("VALUE", lambda m: _value(m)),
    ("RERUN", lambda m: "yes" if m.get("rerun") else ""),
]
_LAGS: list[Column] = [
    ("GROUP", "group"),
    ("LAG", "lag"),
    ("PARTITIONS", lambda g: {str(p["partition"]): f"{p['position']} of {p['end']}" for p in g["partitions"]}),
]
_CHANGES: list[Column] = [
    ("WHAT", "what"),
    ("KEY", "key"),
    ("BEFORE", "before"),
    ("AFTER", "after"),
    ("CHANGES", lambda c: [f"{d['path'] or '(the value)'} {d['what']}" for d in c["changes"]]),
]


@app.default
@app.command(name="list")
def list_topics(
    *,
    env: Annotated[str | None, Parameter(help="Only of this environment.")] = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """List the topics that there are, and those that are registered."""
    with connect(home) as client:
        items = client.get("/data/topics", env=env)["items"]
    print_items(items, _COLUMNS, output=output, none="No topics.")


@app.command
def peek(
    name: Name,
    /,
    *,
    most: Annotated[int, Parameter(name=["--most", "-n"], help="So many messages.")] = 10,
    partition: Number = None,
    offset: Annotated[int | None, Parameter(help="From this offset of the partition on.")] = None,
    since: Since = None,
    env: Env = "prod",
    home: Home = None,
    output: Output = "table",
) -> None:
    """Print the newest messages, oldest first; with --since or --offset the first from there on."""
    asked = {"env": env, "partition": partition, "offset": offset, "since": _instant(since), "limit": most}
    with connect(home) as client:
        items = client.get(f"/data/topics/{ref(name)}/messages", **asked)["items"]
    print_items(items, _MESSAGES, output=output, none="No messages.")


@app.command
def tail(
    name: Name,
    /,
    *,
    partition: Number = None,
    since: Since = None,
    most: Annotated[int | None, Parameter(name=["--most", "-n"], help="End after so many.")] = None,
    env: Env = "prod",
    home: Home = None,
    output: Output = "table",
) -> None:
    """Print messages as they come, a line each, until Ctrl-C; -o json prints each as a line of JSON."""
    asked = {"env": env, "partition": partition, "since": _instant(since)}
    with connect(home) as client:
        for number, message in enumerate(_followed(client, f"/data/topics/{ref(name)}/tail", asked), 1):
            print(json.dumps(message, ensure_ascii=False) if output == "json" else _line(message), flush=True)
            if number == most:
                return


@app.command
def lag(name: Name, /, *, env: Env = "prod", home: Home = None, output: Output = "table") -> None:
    """List the consumer groups that read a topic, and how many messages wait for each."""
    with connect(home) as client:
        items = client.get(f"/data/topics/{ref(name)}/lag", env=env)["items"]
    print_items(items, _LAGS, output=output, none=f"No group has read {name} yet.")


@app.command
def diff(
    name: Name,
    other: Annotated[str, Parameter(help="The topic to compare it with.")],
    /,
    *,
    env: Env = "prod",
    other_env: Annotated[str | None, Parameter(help="The other topic's environment; default the same.")] = None,
    since: Since = None,
    most: Annotated[int, Parameter(name=["--most", "-n"], help="The newest so many messages of each.")] = 10_000,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Show what differs between two topics: messages are paired by key, in their order."""
    asked = {"other": other, "env": env, "other_env": other_env, "since": _instant(since), "limit": most}
    with connect(home) as client:
        found = client.get(f"/data/topics/{ref(name)}/diff", **asked)
    if output == "json":
        return print_json(found)
    print_items(found["items"], _CHANGES, output=output, none="No difference.")
    counts = ("same", "changed", "added", "removed")
    print(", ".join(f"{found[what]} {what}" for what in counts))


@app.command
def add(
    name: str, /, *, description: Description = None, fresh_within: Fresh = None, home: Home = None,
    output: Output = "table",
) -> None:  # fmt: skip
    """Register a topic."""
    _topics.add({"name": name, "description": description, "fresh_within": fresh_within}, home=home, output=output)


@app.command(name="set")
def set_topic(
    name: Ref, /, *, description: Description = None, fresh_within: Fresh = None, home: Home = None,
    output: Output = "table",
) -> None:  # fmt: skip
    """Change a registered topic's description, or how fresh it is to be."""
    _topics.set(name, {"description": description, "fresh_within": fresh_within}, home=home, output=output)


def _followed(client: Client, path: str, asked: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    reached: dict[str, str] = {}
    for event in events(client, path, query=lambda: {**asked, **reached}):
        if event.id is not None:
            reached[LAST_ID] = event.id
        if event.kind == "message":
            yield event.data


def _line(message: Mapping[str, Any]) -> str:
    mark = " (rerun)" if message.get("rerun") else ""
    return f"{message['place']}  {cell(message['timestamp'])}  {cell(message['key'])}  {_value(message)}{mark}"


def _value(message: Mapping[str, Any]) -> str:
    if message["base64"] is not None:
        return f"({message['content_type'] or 'bytes'}, base64) {message['base64']}"
    return json.dumps(message["value"], ensure_ascii=False)


def _instant(text: str | None) -> str | None:
    return None if text is None else moment(text, option="--since")
