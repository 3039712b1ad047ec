"""Which suite is meant."""

import json
from pathlib import Path

import pytest
from kirby.cli.errors import Unreachable, UsageError
from kirby.cli.suite import Suite, find


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KIRBY_URL", "KIRBY_TOKEN", "KIRBY_SCHEDULE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KIRBY_HOME", str(tmp_path))
    (tmp_path / "kirby.json").write_text(json.dumps({"version": 1, "url": "http://h:1/", "token": "of-home"}))
    return tmp_path


def test_the_home_of_the_environment(home: Path) -> None:
    assert find(None) == Suite("http://h:1", "of-home")


def test_url_and_token_of_the_environment_win_over_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRBY_URL", "https://k.example/sub/")
    monkeypatch.setenv("KIRBY_TOKEN", "mine")
    assert find(None) == Suite("https://k.example/sub", "mine")


def test_a_home_on_the_command_line_wins_over_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRBY_URL", "https://k.example")
    assert find(home) == Suite("http://h:1", "of-home")


def test_the_schedule_endpoint_says_the_url(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRBY_SCHEDULE_ENDPOINT", "http://h:1/schedule")
    assert find(None) == Suite("http://h:1", "of-home")


def test_half_a_pair_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRBY_URL", "http://other:1")
    with pytest.raises(UsageError, match="KIRBY_TOKEN is not set for http://other:1"):
        find(None)


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("{", UsageError, "can't be read"),
        ("[]", UsageError, "is not the record"),
        ('{"version": 1}', Unreachable, "has not come up yet"),
    ],
)
def test_a_home_that_is_not_whole(home: Path, text: str, error: type[Exception], told: str) -> None:
    (home / "kirby.json").write_text(text)
    with pytest.raises(error, match=told):
        find(None)


def test_no_home(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="No Kirby in"):
        find(tmp_path / "none")
