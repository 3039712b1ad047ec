"""`kirby secrets`: values come by prompt or stdin, never by argument, and are never listed."""

import getpass
import json
import sys
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.client import ref
from kirby.cli.errors import CommandError, ExitCode, UsageError
from kirby.cli.options import Force, Home, Output, connect
from kirby.cli.show import print_item, print_items

app: App = App(name="secrets", help="Put secrets into the vault, and grant them to jobs.")

Path = Annotated[str, Parameter(help="For example db/main.")]


@app.default
@app.command(name="list")
def list_secrets(*, home: Home = None, output: Output = "table") -> None:
    """List paths and versions; never values."""
    with connect(home) as client:
        answer = client.get("/secrets")
        items = answer["items"] if isinstance(answer, dict) else answer
        print_items(
            items,
            [("PATH", "path"), ("VERSION", "version"), ("CHANGED", "updated_at")],
            output=output,
            none="No secrets.",
        )


@app.command
def put(
    path: Path,
    /,
    *fields: Annotated[str, Parameter(help="The names of its fields; default one field, `value`.")],
    stdin_json: Annotated[bool, Parameter(name="--json", negative="", help="Read a JSON object from stdin.")] = False,
    home: Home = None,
) -> None:
    """Put a secret: asks for each field's value, or reads one line for each from stdin."""
    data = _json_object() if stdin_json else {name: _value(path, name) for name in fields or ("value",)}
    with connect(home) as client:
        answer = client.put(f"/secrets/{_quoted(path)}", {"data": data})
    version = f", version {answer['version']}" if isinstance(answer, dict) and answer.get("version") else ""
    print(f"Put {path} ({', '.join(data)}){version}")


@app.command
def get(
    path: Path,
    field: Annotated[str | None, Parameter(help="Only this field's value.")] = None,
    /,
    *,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Print a secret; admins only, and noted in the audit log."""
    with connect(home) as client:
        answer = client.get(f"/secrets/{_quoted(path)}")
    if field is None:
        return print_item(answer if output == "json" else answer["data"], output=output)
    if field not in answer["data"]:
        raise CommandError(f"{path} has no field {field}: it has {', '.join(answer['data'])}", ExitCode.NOT_FOUND)
    print(answer["data"][field])


@app.command
def remove(path: Path, /, *, yes: Force = False, home: Home = None) -> None:
    """Remove a secret, with all its versions."""
    if not yes and sys.stdin.isatty() and input(f"Remove {path}? [y/N]: ").strip().lower() not in {"y", "yes"}:
        raise UsageError(f"{path} was not removed")
    with connect(home) as client:
        client.delete(f"/secrets/{_quoted(path)}")
    print(f"Removed {path}")


@app.command
def grant(
    path: Annotated[str, Parameter(help="A path; PATH/* grants everything below it.")],
    /,
    *,
    job: str,
    env: str,
    revoke: Annotated[bool, Parameter(negative="", help="Take the grant back.")] = False,
    home: Home = None,
) -> None:
    """Let a job in an environment read a secret."""
    with connect(home) as client:
        context = client.get(f"/contexts/{ref(f'{job}@{env}')}")
        body = {"context_id": context["id"], "path": path}
        client.call("DELETE" if revoke else "PUT", "/secret-grants", body=body)
    print(f"{job}@{env} may {'no longer ' if revoke else ''}read {path}")


@app.command
def grants(*, home: Home = None, output: Output = "table") -> None:
    """List which job may read what."""
    with connect(home) as client:
        answer = client.get("/secret-grants")
        items = answer["items"] if isinstance(answer, dict) else answer
        names = {c["id"]: f"{c['job']}@{c['env']}" for c in client.pages("/contexts")}
        print_items(
            [{"context": names.get(item["context_id"], item["context_id"]), **item} for item in items],
            [("JOB@ENV", "context"), ("PATH", "path")],
            output=output,
            none="No grants.",
        )


def _quoted(path: str) -> str:
    return "/".join(ref(part) for part in path.strip("/").split("/"))


def _value(path: str, field: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"{path} {field}: ")
    line = sys.stdin.readline()
    if not line:
        raise UsageError(f"No value for {field} on stdin: give one line for each field")
    return line.rstrip("\n")


def _json_object() -> dict[str, Any]:
    try:
        data = json.load(sys.stdin)
    except ValueError as error:
        raise UsageError("stdin is not JSON") from error
    if not isinstance(data, dict) or not data:
        raise UsageError("stdin is not a JSON object with at least one field")
    return data
