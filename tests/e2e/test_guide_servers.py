"""The user guide, to the letter: installed wheels, servers started by hand, two supervisors."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kirby.dev.parts import base_environment, free_port, is_free

from tests.e2e.documents import follow

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "tutorial" / "user-guide.md"


@pytest.fixture
def marked() -> Iterator[dict[str, str]]:
    """A variable by which whatever the guide started is found again, and ended."""
    mark = {"KIRBY_GUIDE_TEST": uuid.uuid4().hex}
    try:
        yield mark
    finally:
        found = [process for process in psutil.process_iter() if _has(process, mark)]
        for process in found:
            process.terminate()
        _, alive = psutil.wait_procs(found, timeout=20)
        for process in alive:
            process.kill()


def _has(process: psutil.Process, mark: dict[str, str]) -> bool:
    try:
        return mark.items() <= process.environ().items()
    except psutil.Error:
        return False


def free_pair() -> int:
    """A free port whose next one is free, too."""
    while True:
        port = free_port()
        if is_free(port + 1):
            return port


@pytest.mark.timeout(420)  # It installs the wheels and starts eight servers, one after the other, as a reader does.
def test_the_user_guide(tmp_path: Path, marked: dict[str, str], kafka_bootstrap: str, database: str) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([ROOT / "tools" / "build-wheels", str(tmp_path / "dist")], check=True, capture_output=True)
    venv = tmp_path / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
    env = base_environment() | marked | {"PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "VIRTUAL_ENV": str(venv)}
    instead = {
        "pip install": f"{uv} pip install --constraint {ROOT / 'requirements.lock'}",
        "postgresql://kirby:kirby@127.0.0.1/kirby": database,
        "127.0.0.1:9092": kafka_bootstrap,
        "6379": str(free_port()),
        "8090": str(free_port()),
        "8080": str(free_pair()),
    }
    assert follow(GUIDE, folder=tmp_path, env=env | {"HOME": str(tmp_path)}, instead=instead) > 30
