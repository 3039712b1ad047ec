"""kirby.ctx: the script's environment, typed."""

import doctest
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import kirby
import kirby._context
import pytest


def test_every_type_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Settings:
        NAME: str
        RATE: float
        ON: bool
        DAY: date
        AT: datetime
        WAIT: timedelta
        WHERE: Path
        LIST: list[int]
        TABLE: dict[str, int]
        LIMIT: int | None = None
        TAGS: list[str] = field(default_factory=list)

    text = {
        "NAME": "x",
        "RATE": "0.5",
        "ON": "Yes",
        "DAY": "2026-03-01",
        "AT": "2026-03-01T12:00:00+00:00",
        "WAIT": "90",
        "WHERE": "/data",
        "LIST": "[1, 2]",
        "TABLE": '{"a": 1}',
        "LIMIT": "7",
    }
    for name, value in text.items():
        monkeypatch.setenv(name, value)
    assert kirby.ctx(Settings) == Settings(
        "x",
        0.5,
        True,
        date(2026, 3, 1),
        datetime(2026, 3, 1, 12, tzinfo=UTC),
        timedelta(seconds=90),
        Path("/data"),
        [1, 2],
        {"a": 1},
        7,
        [],
    )


def test_all_missing_variables_are_named_at_once() -> None:
    class Settings:
        NO_SUCH_A: str
        NO_SUCH_B: int
        NO_SUCH_C: int = 1

    with pytest.raises(kirby.MissingVariable, match="NO_SUCH_A, NO_SUCH_B are not set") as caught:
        kirby.ctx(Settings)
    assert caught.value.names == ("NO_SUCH_A", "NO_SUCH_B")


@pytest.mark.parametrize(
    ("hint", "text"), [(int, "12a"), (bool, "maybe"), (datetime, "noon"), (dict, "[1]"), (list, "{")]
)
def test_a_wrong_value_is_named_and_not_shown(hint: type, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_ONE", text)
    signature = type("Settings", (), {"__annotations__": {"THE_ONE": hint}})
    with pytest.raises(kirby.BadVariable, match="THE_ONE") as caught:
        kirby.ctx(signature)
    assert f"'{text}'" not in str(caught.value)


def test_what_kirby_says_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RUN_ID": "r-1",
        "ATTEMPT": "2",
        "GRANT": "5",
        "JOB": "weather",
        "ENV": "prod",
        "DUE_AT": "2026-03-01T12:00:00+00:00",
        "RERUN": "1",
        "SLOT": "0",
    }.items():
        monkeypatch.setenv(f"KIRBY_{name}", value)
    ctx = kirby.ctx
    assert (ctx.run_id, ctx.attempt, ctx.grant, ctx.job, ctx.env) == ("r-1", 2, 5, "weather", "prod")
    assert (ctx.due_at, ctx.rerun, ctx.slot) == (datetime(2026, 3, 1, 12, tzinfo=UTC), True, 0)


def test_outside_kirby_the_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIRBY_RUN_ID", raising=False)
    with pytest.raises(kirby.MissingVariable, match="KIRBY_RUN_ID is not set"):
        _ = kirby.ctx.run_id
    assert (kirby.ctx.due_at, kirby.ctx.slot, kirby.ctx.rerun) == (None, None, False)


def test_the_examples_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATION", "BATCH"):
        monkeypatch.setenv(name, "")
    assert doctest.testmod(kirby._context).failed == 0
