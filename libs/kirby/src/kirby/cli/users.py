"""`kirby users`."""

import getpass
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from kirby.cli.client import ref
from kirby.cli.database.resource import given
from kirby.cli.errors import CommandError, ExitCode, UsageError
from kirby.cli.options import Force, Home, Output, connect
from kirby.cli.show import Column, print_item, print_items

app: App = App(name="users", help="Users and their roles.")

Role = Literal["admin", "developer", "operator", "viewer", "none"]
BoundRole = Literal["developer", "operator", "viewer"]
NewPassword = Annotated[bool, Parameter(negative="", help="Ask for a password (or read a line from stdin).")]


@app.default
@app.command(name="list")
def list_users(*, home: Home = None, output: Output = "table") -> None:
    """List the users."""
    columns: list[Column] = [
        ("NAME", "name"),
        ("ROLE", "role"),
        ("BESIDES", _bound),
        ("DISABLED", "disabled"),
        ("SINCE", "created_at"),
    ]
    with connect(home) as client:
        print_items(client.get("/users")["items"], columns, output=output, none="No users.")


@app.command
def add(
    name: str,
    /,
    *,
    role: Role = "viewer",
    without_password: Annotated[bool, Parameter(negative="", help="Only tokens and login links sign it in.")] = False,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Add a user; asks for the password, or reads one line from stdin."""
    body = {"name": name, "role": role, "password": None if without_password else _password()}
    with connect(home) as client:
        user = client.post("/users", given(body))
    if output == "json":
        return print_item(user, output=output)
    print(f"Added user {name} ({role})")


@app.command(name="set")
def set_user(
    name: str,
    /,
    *,
    role: Role | None = None,
    disabled: Annotated[bool | None, Parameter(negative="--enabled", help="Whether it can sign in.")] = None,
    password: NewPassword = False,
    home: Home = None,
) -> None:
    """Change a user's role or password, or disable it."""
    changes = given({"role": role, "disabled": disabled, "password": _password() if password else None})
    if not changes:
        raise UsageError(f"Nothing to change in {name}: give at least one option")
    with connect(home) as client:
        client.patch(f"/users/{ref(name)}", changes)
    print(f"Changed user {name}")


@app.command
def remove(name: str, /, *, yes: Force = False, home: Home = None) -> None:
    """Remove a user with their tokens."""
    if not yes and sys.stdin.isatty() and input(f"Remove user {name}? [y/N]: ").strip().lower() not in {"y", "yes"}:
        raise UsageError(f"{name} was not removed")
    with connect(home) as client:
        client.delete(f"/users/{ref(name)}")
    print(f"Removed user {name}")


@app.command
def bind(
    name: str,
    /,
    *,
    role: BoundRole,
    env: Annotated[str, Parameter(help="Only in this environment.")] = "*",
    namespace: Annotated[str, Parameter(help="Only in this namespace; sales.* is sales and all below it.")] = "*",
    home: Home = None,
    output: Output = "table",
) -> None:
    """Give a user a role in some environments and namespaces, besides their own.

    One who was added with `--role none` has only these.
    """
    with connect(home) as client:
        user = client.post(f"/users/{ref(name)}/roles", {"role": role, "env": env, "namespace": namespace})
    if output == "json":
        return print_item(user, output=output)
    print(f"{name}: {', '.join([user['role'], *_bound(user)])}")


@app.command
def unbind(
    name: str,
    /,
    *,
    role: BoundRole,
    env: str = "*",
    namespace: str = "*",
    home: Home = None,
) -> None:
    """Take back a role that was bound."""
    with connect(home) as client:
        users = [user for user in client.get("/users")["items"] if user["name"] == name]
        bound = [b for user in users for b in user["roles"]]
        found = [b["id"] for b in bound if (b["role"], b["env"], b["namespace"]) == (role, env, namespace)]
        if not found:
            raise CommandError(f"{name} has no role {role} bound to {env} {namespace}", ExitCode.NOT_FOUND)
        client.delete(f"/users/{ref(name)}/roles/{ref(found[0])}")
    print(f"{name} is no longer {role} in {env} {namespace}")


def _bound(user: Mapping[str, Any]) -> list[str]:
    return [f"{b['role']} in {b['env']} {b['namespace']}" for b in user["roles"]]


def _password() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    line = sys.stdin.readline()
    if not line:
        raise UsageError("No password on stdin")
    return line.rstrip("\n")
