"""The account that PostgreSQL runs under when root starts it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from kirby.dev import postgres
from kirby.dev.parts import PartFailed


def absent(tmp_path: Path) -> str:
    return f"kirby-{tmp_path.name[-12:]}"


def test_it_is_made_also_with_a_plain_users_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        called.append(argv)
        return subprocess.CompletedProcess(argv, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("shutil.which", lambda command, path: f"{path.split(':')[-2]}/{command}")
    monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
    postgres._ensure_account(absent(tmp_path))
    assert called[0][0] == "/usr/sbin/useradd"
    assert called[0][-1] == absent(tmp_path)


def test_without_the_command_it_says_what_to_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda command, path: None)
    with pytest.raises(PartFailed, match=f"make one named {absent(tmp_path)}"):
        postgres._ensure_account(absent(tmp_path))
