"""The command, in this process, against the running suite: as a user types it, without the start of an interpreter."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kirby.cli.main import main

from tests.stores.suites import RunningSuite


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    """`kirby("runs", "-n", "1")`: fails the test on another exit code than `code`; None takes any."""

    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *words: str, code: int | None = 0, stdin: str = "") -> Done:
        self.monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        self.capsys.readouterr()
        found = main(list(words))
        out, err = self.capsys.readouterr()
        assert code is None or found == code, f"kirby {' '.join(words)}: exit {found}\n{out}{err}"
        assert "Traceback" not in err
        return Done(found, out, err)

    def json(self, *words: str) -> Any:
        return self(*words, "-o", "json").json


@pytest.fixture
def kirby(suite: RunningSuite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    for name in ("KIRBY_URL", "KIRBY_TOKEN", "KIRBY_SCHEDULE_ENDPOINT", "KIRBY_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KIRBY_HOME", str(suite.home))
    return Command(capsys, monkeypatch)


@pytest.fixture
def script(tmp_path: Path, unique_name: Callable[[str], str]) -> Callable[[str], Path]:
    """Writes a script file with a name of its own."""

    def write(text: str) -> Path:
        path = tmp_path / f"{unique_name('s').replace('-', '_')}.py"
        path.write_text(text)
        return path

    return write
