"""`kirby doctor` names what is wrong, and the command that mends it."""

import json
from pathlib import Path

import pytest
from kirby.cli import doctor


@pytest.fixture(autouse=True)
def _bare_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KIRBY_URL", "KIRBY_TOKEN", "KIRBY_HOME", *doctor._STORES):
        monkeypatch.delenv(name, raising=False)


def _failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert doctor.doctor(home=tmp_path, output="json") == 1
    return {found["check"]: found["mend"] for found in json.loads(capsys.readouterr().out) if not found["ok"]}


def test_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = _failed(tmp_path, capsys)
    assert failed["suite"] == f"kirby dev --home {tmp_path} --detach"
    assert set(failed) == {"suite", "api"}


def test_every_failed_check_names_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLALCHEMY_DATABASE_URI", "///kirby.db")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1,127.0.0.1:2")
    failed = _failed(tmp_path, capsys)
    assert {"SQLALCHEMY_DATABASE_URI", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS"} <= set(failed)
    assert all(failed.values())


def test_an_address_that_makes_no_sense_is_a_finding_not_a_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:port")
    assert "REDIS_URL" in _failed(tmp_path, capsys)


def test_a_broken_home_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kirby.json").write_text("{")
    assert "home" in _failed(tmp_path, capsys)
