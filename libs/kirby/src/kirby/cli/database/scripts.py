"""`kirby scripts`: versions of packages."""

from typing import Annotated

from cyclopts import App, Parameter

from kirby.cli.database.resource import Resource
from kirby.cli.options import Home, Output

_scripts = Resource(
    "scripts",
    "script",
    [
        ("PACKAGE", "package_name"),
        ("VERSION", "package_version"),
        ("ENTRY", "entry"),
        ("LOCK", lambda s: s["lock"] and (s["lock"]["error"] or s["lock"]["status"])),
        ("USED BY", lambda s: [f"{c['job']}@{c['env']}" for c in s["contexts"]]),
        ("READS", "sources"),
        ("WRITES", "destinations"),
        ("FIRST SEEN", "first_seen"),
    ],
)
app: App = _scripts.app("scripts", help="Versions of packages that jobs run.")

Source = Annotated[list[str] | None, Parameter(negative="", help="A topic that it reads; repeatable.")]
Destination = Annotated[list[str] | None, Parameter(negative="", help="A topic that it writes; repeatable.")]


@app.default
@app.command(name="list")
def list_scripts(
    *,
    package: Annotated[str | None, Parameter(help="Only this package's versions.")] = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """List the versions."""
    _scripts.list(home=home, output=output, package_name=package)


@app.command
def add(
    package: str,
    version: str,
    /,
    *,
    entry: Annotated[str | None, Parameter(help="A console script, or module:function.")] = None,
    source: Source = None,
    destination: Destination = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Register a version of a package that an index has."""
    body = {
        "package_name": package,
        "package_version": version,
        "entry": entry,
        "sources": source,
        "destinations": destination,
    }
    _scripts.add(body, home=home, output=output)


@app.command(name="set")
def set_script(
    script: Annotated[str, Parameter(help="PACKAGE@VERSION or an id.")],
    /,
    *,
    source: Source = None,
    destination: Destination = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Change the topics that a version reads and writes."""
    _scripts.set(script, {"sources": source, "destinations": destination}, home=home, output=output)
