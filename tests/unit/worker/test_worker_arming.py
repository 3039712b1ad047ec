"""What may wait for a run, with what environment, and how much of it."""

from pathlib import Path

import pytest
from kirby_worker.adapters import memory
from kirby_worker.adapters.venvs import Venv
from kirby_worker.domain.arming import INTERPRETER_BYTES, Load, Memory, load_for, may_wait

COMMAND = ["/venv/bin/python", "-m", "hello"]
GB = 1024**3


def test_a_load_holds_what_python_reads_before_it_runs_anything_and_no_more() -> None:
    env = {"PATH": "/bin", "TOKEN": "s3cret", "TZ": "UTC", "LC_ALL": "C", "PYTHONUNBUFFERED": "1", "HOME": "/h"}
    load = load_for(COMMAND, env)
    assert load is not None
    assert load.message() == {
        "argv": COMMAND,
        "env": {"TZ": "UTC", "LC_ALL": "C", "PYTHONUNBUFFERED": "1", "HOME": "/h"},
    }
    assert load == load_for(COMMAND, {**env, "TOKEN": "another"})
    assert load != load_for(COMMAND, {**env, "TZ": "Asia/Tokyo"})
    assert load != load_for([*COMMAND[:2], "other"], env)


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHON_NEW_THING", "LD_PRELOAD"])
def test_an_environment_that_brings_code_of_its_own_is_not_armed(name: str) -> None:
    assert load_for(COMMAND, {name: "/somewhere"}) is None


def test_interpreters_wait_as_far_as_their_number_and_the_memory_go() -> None:
    plenty = Memory(free=2 * GB, total=8 * GB)
    assert may_wait(63, most=64, memory=plenty)
    assert not may_wait(64, most=64, memory=plenty)
    assert not may_wait(0, most=0, memory=plenty)
    assert may_wait(0, most=64, memory=Memory(free=GB + INTERPRETER_BYTES, total=10 * GB))
    assert not may_wait(0, most=64, memory=Memory(free=GB + INTERPRETER_BYTES - 1, total=10 * GB))


def test_the_memory_of_this_machine_is_known() -> None:
    found = memory.memory()
    assert 0 < found.free <= found.total


@pytest.mark.parametrize(
    ("name", "text", "early"),
    [
        ("paths.pth", "/elsewhere\n# import x\nimportant\n", False),
        ("hook.pth", "/elsewhere\nimport hook; hook.go()\n", True),
        ("sitecustomize.py", "", True),
        ("module.py", "import os", False),
    ],
)
def test_a_venv_whose_packages_run_at_every_start_is_found_out(
    name: str, text: str, early: bool, tmp_path: Path
) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (site / name).write_text(text)
    assert Venv(tmp_path).runs_code_early() == early


def test_loads_of_one_venv_are_told_by_their_python() -> None:
    assert Load(("/venvs/a/bin/python", "-m", "x"), ()).python == "/venvs/a/bin/python"
