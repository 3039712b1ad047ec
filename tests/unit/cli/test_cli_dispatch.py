"""The kernel of the command: what is loaded, what is told, with which exit code."""

import subprocess
import sys
from pathlib import Path

import kirby
import pytest
from kirby.cli.main import main
from kirby.cli.registry import LOCAL, SERVICES


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "KIRBY_HOME": "/nonexistent", **environment}
    return subprocess.run(
        [sys.executable, "-m", "kirby.cli.main", *arguments], capture_output=True, text=True, env=env, check=False
    )


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"kirby {kirby.__version__}\n"


def test_help_names_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = capsys.readouterr().out
    for name in [*LOCAL, *SERVICES, "dev", "doctor", "config"]:
        assert f" {name} " in told


@pytest.mark.parametrize("name", sorted(LOCAL))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"kirby {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rnus"], "There is no command `kirby rnus`: did you mean `kirby runs`?"),
        (["runs", "--bogus"], "--bogus"),
        (["runs", "-n", "many"], 'unable to convert "many" into int'),
        (["runs", "-n"], "kirby runs needs a value for -n."),
        (["trigger", "x"], "kirby trigger needs --env."),
        (["trigger"], "kirby trigger needs JOB."),
        (["jobs", "frob"], "kirby jobs does not understand 'frob'."),
        (["schedules", "add", "x"], "Say when in one way"),
        (["envs", "set", "prod"], "Nothing to change in prod"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_no_suite_is_told_with_what_to_do() -> None:
    done = run("runs")
    assert (done.returncode, done.stdout) == (3, "")
    assert "No Kirby in /nonexistent: start one with `make dev`" in done.stderr
    done = run("runs", KIRBY_URL="http://127.0.0.1:1", KIRBY_TOKEN="t")
    assert done.returncode == 3
    assert "No Kirby at http://127.0.0.1:1 (Connection refused): start one with `make dev`" in done.stderr
    assert run("runs", KIRBY_URL="ftp://x", KIRBY_TOKEN="t").returncode == 2
    assert "KIRBY_TOKEN is not set" in run("runs", KIRBY_URL="http://127.0.0.1:1").stderr


def test_home_may_come_first(tmp_path: Path) -> None:
    assert str(tmp_path) in run("--home", str(tmp_path), "runs").stderr
    assert str(tmp_path) in run(f"--home={tmp_path}", "runs").stderr


def test_a_traceback_is_shown_only_when_asked_for() -> None:
    assert "Traceback" not in run("runs").stderr
    assert "Traceback" in run("runs", KIRBY_DEBUG="1").stderr


def test_a_service_without_its_package_says_what_to_install() -> None:
    code = (
        "import sys, importlib.metadata as m; m.entry_points = lambda **k: []\n"
        "from kirby.cli.main import main; sys.exit(main(['web']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "kirby web needs the server: pip install 'kirby[server]'\n")


def test_a_reading_command_imports_only_its_own() -> None:
    code = (
        "import sys; from kirby.cli.main import main; main(['runs'])\n"
        "heavy = ['httpx2', 'rich', 'pydantic', 'confluent_kafka', 'asyncio', 'kirby.cli.deploy', 'kirby_common']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"KIRBY_HOME": "/nonexistent"}
    )
    assert done.stdout == "[]\n"
