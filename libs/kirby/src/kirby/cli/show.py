"""How answers are printed: JSON as the REST API gives it, or a table for people."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

Column = tuple[str, Callable[[Mapping[str, Any]], Any] | str]

_COLOURS = {
    "SUCCEEDED": 32, "RUNNING": 36, "FAILED": 31, "KILLED": 31, "LOST": 31, "MISSED": 31, "RETRYING": 33,
    "enabled": 32, "enabling": 33, "yes": 32, "no": 31, "ok": 32, "down": 31,
}  # fmt: skip


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def print_items(items: Iterable[Mapping[str, Any]], columns: Sequence[Column], *, output: str, none: str) -> None:
    """A list: a JSON array, or a table; `none` is said on stderr when a table would be empty."""
    rows = list(items)
    if output == "json":
        print_json(rows)
    elif rows:
        print_table([[cell(_value(row, column[1])) for column in columns] for row in rows], [c[0] for c in columns])
    else:
        print(none, file=sys.stderr)


def print_table(rows: Sequence[Sequence[str]], titles: Sequence[str]) -> None:
    widths = [max(len(row[n]) for row in [titles, *rows]) for n in range(len(titles))]
    colours = sys.stdout.isatty()
    print("  ".join(title.ljust(width) for title, width in zip(titles, widths, strict=True)).rstrip())
    for row in rows:
        padded = [
            _coloured(text, width) if colours else text.ljust(width) for text, width in zip(row, widths, strict=True)
        ]
        print("  ".join(padded).rstrip())


def print_item(item: Mapping[str, Any], *, output: str) -> None:
    """One thing: JSON, or a line for each field."""
    if output == "json":
        return print_json(item)
    width = max(len(name) for name in item)
    for name, value in item.items():
        print(f"{name.ljust(width)}  {cell(value)}".rstrip())


def cell(value: Any) -> str:
    """A value on one line: times in local time, nothing as nothing."""
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, dict):
        return ", ".join(f"{name}={cell(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(cell(inner) for inner in value)
    text = str(value)
    return local_time(text) if text[4:5] == "-" and text[10:11] == "T" else " ".join(text.split())


def local_time(text: str) -> str:
    """`2026-03-01 13:00:00` for a UTC instant of the REST API."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment.tzinfo else text


def _value(row: Mapping[str, Any], source: Callable[[Mapping[str, Any]], Any] | str) -> Any:
    """An api of another version may lack a field: that costs its cell, not the command."""
    try:
        return row.get(source) if isinstance(source, str) else source(row)
    except (KeyError, TypeError):
        return "?"


def _coloured(text: str, width: int) -> str:
    colour = _COLOURS.get(text)
    return f"\x1b[{colour}m{text.ljust(width)}\x1b[0m" if colour else text.ljust(width)
