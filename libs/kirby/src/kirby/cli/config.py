"""`kirby config`: every setting of every installed service, its value, where that comes from, and who reads it.

Each service names its settings class in the entry point group `kirby.settings`, so this needs to import none of them.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import entry_points
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli import options, suite
from kirby.cli.errors import CommandError, ExitCode
from kirby.cli.show import print_items

app: App = App(name="config", help="List the settings, their values (secrets masked) and sources.")

_MASK = "********"
_SECRET_TYPE = re.compile(r"\bSecret(Str|Bytes)\b")
_PASSWORD_IN_URL = re.compile(r"(://[^:/@\s]*:)[^@\s]+@")


@dataclass(frozen=True)
class Setting:
    """A variable as one service declares it."""

    name: str
    service: str
    default: Any
    required: bool
    secret: bool
    description: str


@app.default
def config(
    service: Annotated[str | None, Parameter(help="One service; all of them when left out.")] = None,
    /,
    *,
    home: options.Home = None,
    output: options.Output = "table",
) -> int:
    """List the settings, their values (secrets masked) and sources: the environment, the home, or the default."""
    declared = list(_declared(service))
    if not declared:
        what = f"no service {service} is installed" if service else "no service is installed"
        raise CommandError(f"{what}: pip install 'kirby[server]'", ExitCode.NOT_FOUND)
    recorded = suite.recorded(home).get("env", {})
    columns = [(title.upper(), title) for title in ("name", "value", "source", "services", "description")]
    print_items(rows(declared, home=recorded, environment=os.environ), columns, output=output, none="")
    return ExitCode.OK


def rows(
    declared: Iterable[Setting], *, home: Mapping[str, str], environment: Mapping[str, str]
) -> list[dict[str, Any]]:
    """One row per variable, in alphabetical order; services that share it are listed together."""
    found: dict[str, dict[str, Any]] = {}
    for setting in declared:
        row = found.setdefault(setting.name, _row(setting, home=home, environment=environment))
        row["services"].append(setting.service)
    return [found[name] for name in sorted(found)]


def _row(setting: Setting, *, home: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, Any]:
    # A running home has its own settings: what this shell says counts only where there is none.
    if setting.name in home:
        value, source = home[setting.name], "home"
    elif setting.name in environment:
        value, source = environment[setting.name], "environment"
    else:
        value, source = setting.default, "not set" if setting.required else "default"
    text = duration(value) if isinstance(value, timedelta) else str(value)
    shown = None if value is None else _masked(text, secret=setting.secret)
    return {
        "name": setting.name,
        "value": shown,
        "source": source,
        "services": [],
        "description": setting.description,
    }


def duration(value: timedelta) -> str:
    """As one would write it in the variable: `20s`, `14d`."""
    seconds = value.total_seconds()
    units = (("d", 86400), ("h", 3600), ("m", 60))
    return next(
        (f"{seconds / size:g}{unit}" for unit, size in units if seconds and seconds % size == 0), f"{seconds:g}s"
    )


def _masked(value: str, *, secret: bool) -> str:
    return _MASK if secret else _PASSWORD_IN_URL.sub(rf"\1{_MASK}@", value)


def _declared(service: str | None) -> Iterable[Setting]:
    for found in sorted(entry_points(group="kirby.settings"), key=lambda point: point.name):
        if service in (None, found.name):
            yield from _fields(found.name, found.load())


def _fields(service: str, settings: Any) -> Iterable[Setting]:
    for name, field in settings.model_fields.items():
        required = field.is_required()
        yield Setting(
            name=name.upper(),
            service=service,
            default=None if required else field.get_default(call_default_factory=True),
            required=required,
            secret=bool(_SECRET_TYPE.search(repr(field.annotation))),
            description=field.description or "",
        )
