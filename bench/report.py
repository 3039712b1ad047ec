"""The figures as JSON and as a table; what was not measured this time keeps its former row."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figure import Figure, as_json

FOLDER = Path(__file__).parent
CROWDED = 3.0
"""A load at the beginning above which a row says so: such a figure decides nothing."""


@dataclass(frozen=True)
class Row:
    """A figure as it was had: `group` is what one names to measure it again, `load` that of the minute before."""

    group: str
    figure: Figure
    measured_at: str
    load: float


def write(
    rows: Sequence[Row], *, machine: dict[str, Any] | None, missing: dict[str, str], order: Sequence[str]
) -> None:
    """Merges the rows into the results and writes both forms; `machine` None keeps the former description."""
    file = FOLDER / "results.json"
    former = read(json.loads(file.read_text())) if file.exists() else Results({}, [], {})
    results = merged(former, Results(machine or former.machine, list(rows), missing), order=order)
    found = {
        "machine": results.machine,
        "figures": [
            as_json(row.figure) | {"group": row.group, "measured_at": row.measured_at, "load": round(row.load, 1)}
            for row in results.rows
        ],
        "missing": results.missing,
    }
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    (FOLDER / "results.md").write_text(table(results.rows, machine=results.machine, missing=results.missing))


@dataclass(frozen=True)
class Results:
    machine: dict[str, Any]
    rows: list[Row]
    missing: dict[str, str]


def read(found: dict[str, Any]) -> Results:
    """Results as `write` has written them."""
    rows = [
        Row(
            f["group"],
            Figure(f["name"], f["value"], f["unit"], f["aim"], f["samples"], f["note"]),
            f["measured_at"],
            f["load"],
        )
        for f in found["figures"]
    ]
    return Results(found["machine"], rows, found["missing"])


def merged(former: Results, now: Results, *, order: Sequence[str]) -> Results:
    """Of each group the newer rows; a group that could not be had this time keeps what it had."""
    measured = {row.group for row in now.rows}
    rows = [row for row in former.rows if row.group in order and row.group not in measured] + now.rows
    missing = {group: why for group, why in (former.missing | now.missing).items() if group not in measured}
    return Results(now.machine, sorted(rows, key=lambda row: order.index(row.group)), missing)


def table(rows: Sequence[Row], *, machine: dict[str, Any], missing: dict[str, str]) -> str:
    parts = ", ".join(f"{name} {version}" for name, version in machine["parts"].items())
    day = machine["measured_at"][:10]
    lines = [
        "# Measured figures",
        "",
        f"Made by `make bench` on {day}: {machine['cores']} cores ({machine['processor']}),"
        f" {machine['memory_mb']} MB, Linux {machine['kernel']}, Python {machine['python']}.",
        f"Parts: {parts}. Medians, unless a row says otherwise. The machine-readable form is `results.json`.",
        "",
        "| figure | value | aim | met | samples | |",
        "|---|---:|---:|---|---:|---|",
    ]
    for row in rows:
        figure = row.figure
        cells = (
            figure.name,
            f"{_short(figure.value)} {figure.unit}",
            figure.aim,
            {True: "yes", False: "**no**", None: ""}[met(figure)],
            str(figure.samples),
            "; ".join(filter(None, (figure.note, *_circumstances(row, day)))),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| {name} | not measured | | | | {reason} |" for name, reason in missing.items()]
    return "\n".join(lines) + "\n"


def _circumstances(row: Row, day: str) -> list[str]:
    told = [f"on {row.measured_at[:10]}"] if row.measured_at[:10] != day else []
    return told + ([f"at load {row.load:.0f}"] if row.load > CROWDED else [])


def met(figure: Figure) -> bool | None:
    """Whether the aim is met; None where there is none."""
    if not figure.aim:
        return None
    sign, number = figure.aim.split()
    return figure.value <= float(number) if sign == "≤" else figure.value >= float(number)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
