"""The table of figures says what was measured, and whether an aim was met."""

import pytest

from bench.figure import Figure, p50, p99
from bench.report import Results, Row, merged, met, read, table

MACHINE = {
    "measured_at": "2026-01-01T00:00:00+00:00",
    "cores": 2,
    "processor": "x",
    "memory_mb": 1,
    "kernel": "6",
    "python": "3.11",
    "parts": {"kafka": "4.3.0"},
}


@pytest.mark.parametrize(
    ("value", "aim", "answer"),
    [(9.9, "≤ 10", True), (10.1, "≤ 10", False), (30_000, "≥ 20000", True), (1, "≥ 20000", False), (1, "", None)],
)
def test_an_aim_is_met_or_not(value: float, aim: str, answer: bool | None) -> None:
    assert met(Figure("x", value, "s", aim)) is answer


def row(group: str, name: str, *, at: str = "2026-01-01T00:00+00:00", load: float = 0.5, aim: str = "") -> Row:
    return Row(group, Figure(name, 12.0, "s", aim, 3), at, load)


def test_a_missed_aim_and_a_missing_figure_are_shown() -> None:
    text = table([row("starting", "page", aim="≤ 10")], machine=MACHINE, missing={"claims": "RuntimeError: no"})
    assert "| page | 12 s | ≤ 10 | **no** | 3 |  |" in text
    assert "| claims | not measured | | | | RuntimeError: no |" in text


def test_a_row_of_another_day_or_of_a_crowded_machine_says_so() -> None:
    text = table([row("idle", "all", at="2025-12-31T00:00+00:00", load=7.6)], machine=MACHINE, missing={})
    assert "| on 2025-12-31; at load 8 |" in text


def test_what_is_not_measured_again_keeps_its_rows_and_what_failed_too() -> None:
    order = ["starting", "idle", "claims", "new"]
    former = Results(MACHINE, [row("starting", "page"), row("idle", "all"), row("gone", "x")], {"claims": "no"})
    now = Results(
        MACHINE, [row("new", "first"), row("idle", "all anew"), row("claims", "a second")], {"starting": "broke"}
    )
    result = merged(former, now, order=order)
    assert [r.figure.name for r in result.rows] == ["page", "all anew", "a second", "first"]
    assert result.missing == {"starting": "broke"}


def test_rows_are_read_as_they_were_written() -> None:
    figures = [
        {"name": "page", "value": 12.0, "unit": "s", "aim": "", "samples": 3, "note": "", "group": "starting",
         "measured_at": "2026-01-01T00:00+00:00", "load": 0.5}
    ]  # fmt: skip
    assert read({"machine": MACHINE, "figures": figures, "missing": {}}).rows == [row("starting", "page")]


def test_percentiles() -> None:
    assert p50([1.0, 9.0, 2.0]) == 2.0
    assert p99([float(n) for n in range(1, 102)]) == 100.0
    assert p99([5.0]) == 5.0
