"""`kirby state`: tables that remember, read and written as the user of the token."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.client import Client, ref
from kirby.cli.errors import UsageError
from kirby.cli.options import Home, Output, connect
from kirby.cli.show import Column, print_item, print_items, print_json

app: App = App(name="state", help="States: tables that remember every version of every key.")

Name = Annotated[str, Parameter(help="The State's name.")]
Key = Annotated[str, Parameter(help="The key.")]
Env = Annotated[str, Parameter(help="The environment.")]
Expect = Annotated[
    int | None, Parameter(name="--expect-version", help="Only if the key has this version; 0: if it was never set.")
]

_STATES: list[Column] = [
    ("NAME", "name"),
    ("ENV", "env"),
    ("OWNED", lambda s: "yes" if s["owned"] else ""),
    ("KEYS", "keys"),
    ("VERSIONS", "versions"),
    ("CHANGED", "changed_at"),
    ("PROBLEM", "problem"),
]
_VERSIONS: list[Column] = [
    ("VERSION", "version"),
    ("VALUE", lambda v: _shown(v)),
    ("AT", "at"),
    ("BY", "by"),
    ("RUN", "run"),
    ("WHAT", lambda v: f"restore of {v['restores']}" if v["restores"] else v["op"]),
    ("RERUN", lambda v: "yes" if v["rerun"] else ""),
]
_CHANGES: list[Column] = [
    ("PLACE", lambda c: c["path"] or "(the value)"),
    ("WHAT", "what"),
    ("BEFORE", lambda c: _json(c["before"])),
    ("AFTER", lambda c: _json(c["after"])),
]


@app.command(name="ls")
def list_states(
    name: Annotated[str | None, Parameter(help="List this State's keys instead.")] = None,
    /,
    *,
    env: Annotated[str | None, Parameter(help="Only of this environment; of keys, prod.")] = None,
    prefix: Annotated[str, Parameter(help="Only keys that begin so.")] = "",
    deleted: Annotated[bool, Parameter(negative="", help="Deleted keys, too.")] = False,
    most: Annotated[int | None, Parameter(name=["--most", "-n"], help="So many keys at most.")] = 100,
    home: Home = None,
    output: Output = "table",
) -> None:
    """List the States, or the keys of one with their newest versions."""
    with connect(home) as client:
        if name is None:
            found = client.get("/states", env=env)["items"]
            return print_items(found, _STATES, output=output, none="No States: `kirby state set NAME KEY VALUE`.")
        query = {"env": env or "prod", "prefix": prefix, "deleted": deleted or None}
        keys = client.pages(f"/states/{ref(name)}/keys", most=most, **query)
        print_items(keys, [("KEY", "key"), *_VERSIONS], output=output, none="No keys.")


@app.command
def get(
    name: Name,
    key: Key,
    /,
    *,
    version: Annotated[int | None, Parameter(help="This version instead of the newest.")] = None,
    as_of: Annotated[str | None, Parameter(help="As it was then, for example 2026-11-21T10:00:00Z.")] = None,
    env: Env = "prod",
    home: Home = None,
    output: Output = "table",
) -> None:
    """Print a key's value; -o json prints everything about the version."""
    with connect(home) as client:
        found = client.get(f"/states/{ref(name)}/value", key=key, env=env, version=version, as_of=as_of)
    if output == "json":
        return print_json(found)
    print(_shown(found))


@app.command(name="set")
def set_value(
    name: Name,
    key: Key,
    value: Annotated[
        str, Parameter(help="JSON; what is not JSON is text. - reads it from stdin.", allow_leading_hyphen=True)
    ],
    /,
    *,
    text: Annotated[bool, Parameter(negative="", help="Take the value as text, whatever it looks like.")] = False,
    expect: Expect = None,
    env: Env = "prod",
    home: Home = None,
    output: Output = "table",
) -> None:
    """Set a key. Makes the State when there is none of that name."""
    given = sys.stdin.read() if value == "-" else value
    body = {"value": given if text else _parsed(given), "expect_version": expect}
    with connect(home) as client:
        _told(client.call("PUT", f"/states/{ref(name)}/value", body=body, query={"key": key, "env": env}), output)


@app.command
def delete(
    name: Name, key: Key, /, *, expect: Expect = None, env: Env = "prod", home: Home = None, output: Output = "table"
) -> None:
    """Delete a key: a version without a value, which can be restored from."""
    query = {"key": key, "env": env, "expect_version": expect}
    with connect(home) as client:
        _told(client.call("DELETE", f"/states/{ref(name)}/value", query=query), output)


@app.command
def history(
    name: Name,
    key: Key,
    /,
    *,
    most: Annotated[int | None, Parameter(name=["--most", "-n"], help="The newest so many only.")] = None,
    env: Env = "prod",
    home: Home = None,
    output: Output = "table",
) -> None:
    """List the versions of a key, oldest first."""
    with connect(home) as client:
        found = list(client.pages(f"/states/{ref(name)}/history", most=most, key=key, env=env))
    print_items(reversed(found), _VERSIONS, output=output, none="No versions.")


@app.command
def restore(
    name: Name,
    key: Key,
    version: Annotated[int, Parameter(help="The version to bring back, as a new one.")],
    /,
    *,
    expect: Expect = None,
    env: Env = "prod",
    home: Home = None,
    output: Output = "table",
) -> None:
    """Bring an old version of a key back, as a new one."""
    body = {"key": key, "version": version, "expect_version": expect}
    with connect(home) as client:
        _told(client.post(f"/states/{ref(name)}/restore", body, env=env), output)


@app.command
def diff(
    name: Name,
    key: Annotated[str | None, Parameter(help="The key; without one, the whole State between two instants.")] = None,
    before: Annotated[int | None, Parameter(help="A version.")] = None,
    after: Annotated[int | None, Parameter(help="Another version.")] = None,
    /,
    *,
    since: Annotated[str | None, Parameter(help="An instant, for example 2026-11-21T10:00:00Z.")] = None,
    until: Annotated[str | None, Parameter(help="A later instant; default now.")] = None,
    prefix: Annotated[str, Parameter(help="Only keys that begin so.")] = "",
    env: Env = "prod",
    home: Home = None,
    output: Output = "table",
) -> None:
    """Show what differs between two versions of a key, or, with --since, between two instants of a State."""
    with connect(home) as client:
        if key is not None and before is not None and after is not None and since is None:
            query = {"key": key, "before": before, "after": after, "env": env}
            found = client.get(f"/states/{ref(name)}/diff", **query)
            if output == "json":
                return print_json(found)
            return print_items(found["changes"], _CHANGES, output=output, none="No difference.")
        if key is not None or since is None:
            raise UsageError("Say what to compare: `diff NAME KEY BEFORE AFTER`, or `diff NAME --since INSTANT`")
        changed = client.pages(f"/states/{ref(name)}/changes", since=since, until=until, prefix=prefix, env=env)
        columns: list[Column] = [
            ("KEY", "key"),
            ("BEFORE", lambda c: _side(c["before"])),
            ("AFTER", lambda c: _side(c["after"])),
        ]
        print_items(changed, columns, output=output, none="No difference.")


@app.command
def rebuild(
    name: Name,
    /,
    *,
    wait: Annotated[float, Parameter(help="So many seconds at most.")] = 600,
    env: Env = "prod",
    home: Home = None,
) -> None:
    """Drop what was folded of a State's log, and fold it anew from its begin."""
    with connect(home) as client:
        done = _rebuilt(client, name, env=env, wait=wait)
    print(f"Rebuilt {name}" if done else f"{name} is being rebuilt: `kirby state ls` shows how far it is")


def _rebuilt(client: Client, name: str, *, env: str, wait: float) -> bool:
    answer = client.post(f"/states/{ref(name)}/rebuild", timeout=wait + 30, env=env, wait=wait)
    return bool(answer["done"])


def _told(version: Mapping[str, Any], output: str) -> None:
    if output == "json":
        return print_item(version, output=output)
    print(f"{version['key']} has version {version['version']}")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.rstrip("\n")


def _shown(version: Mapping[str, Any]) -> str:
    if version["deleted"]:
        return "(deleted)"
    if version["base64"] is not None:
        return f"({version['content_type']}, base64) {version['base64']}"
    return f"(kept as {version['stored']})" if version["stored"] else _json(version["value"])


def _side(version: Mapping[str, Any] | None) -> str:
    return "" if version is None else f"{version['version']}: {_shown(version)}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
