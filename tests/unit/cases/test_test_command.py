"""`kirby test`, and the same folders in pytest."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from kirby.cli.main import main
from kirby.testing import recordings
from kirby.webclient import Answer

EXAMPLES = Path(__file__).parents[3] / "examples"
DOUBLE = """
from kirby import State, Topic
with Topic("numbers") as numbers, Topic("doubles") as doubles, State("last", create=True) as last:
    for message in numbers:
        doubles.send(message.value * 2, key=message.key)
        last["value"] = message.value * 2
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script and a case, in the folder one is in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "double.py").write_text(DOUBLE)
    put("cases/three/case.toml", 'script = "../../double.py"\n')
    put("cases/three/topics/numbers/001.json", '{"key": "a", "value": 3}')
    return tmp_path


def put(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


def test_the_examples_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(EXAMPLES)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok  ") and "nothing was expected" not in line for line in lines[:-1])
    assert lines[-1] == f"{len(lines) - 1} passed"
    assert len(lines) >= 7


@pytest.mark.usefixtures("project")
def test_update_writes_what_came_and_then_it_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test"]) == 0
    assert "cases/three" in (out := capsys.readouterr().out)
    assert "(nothing was expected: --update writes what came)\n1 passed\n" in out
    assert main(["test", "--update"]) == 0
    assert capsys.readouterr().out.startswith("updated cases/three")
    assert json.loads(Path("cases/three/expected/topics/doubles/001.json").read_text()) == {"key": "a", "value": 6}
    assert json.loads(Path("cases/three/expected/states/last.json").read_text()) == {"value": 6}
    assert main(["test"]) == 0
    put("double.py", DOUBLE.replace("* 2", "* 3"))
    assert main(["test"]) == 1
    assert capsys.readouterr().out.endswith(
        """
    expected/topics/doubles/001.json differs:
      {
        "key": "a",
    -   "value": 6
    +   "value": 9
      }
    states/last.json differs:
      {
    -   "value": 6
    +   "value": 9
      }
0 passed, 1 failed
"""
    )


@pytest.mark.usefixtures("project")
def test_update_does_not_write_away_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    put("double.py", "from kirby import Topic\nfor m in Topic('absent', create=True): pass\n")
    assert main(["test", "--update"]) == 1
    assert "it reads the topic 'absent', and there is no folder topics/absent" in capsys.readouterr().out
    put("double.py", "raise ValueError('no')")
    assert main(["test", "--update"]) == 1
    out = capsys.readouterr().out
    assert "it ended with exit code 1, and 0 was expected:" in out
    assert "ValueError: no" in out


@pytest.mark.usefixtures("project")
def test_answers_of_web_services_are_kept(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    put("double.py", "from kirby import WebClient\nprint(WebClient('met', 'https://met.test').get('now'))\n")
    assert main(["test"]) == 1
    assert "There is no recording of GET https://met.test/now" in capsys.readouterr().out
    monkeypatch.setattr("kirby.testing.running._ask", lambda request: Answer(200, b'{"celsius":11.4}'))
    assert main(["test", "--record"]) == 0
    (kept,) = recordings.read_recordings(Path("cases/three/web"))
    assert kept.request == {"method": "GET", "url": "https://met.test/now"}
    assert kept.answer.json() == {"celsius": 11.4}
    assert main(["test", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["cases"][0]["output"] == "{'celsius': 11.4}\n"
    put("double.py", "")
    assert main(["test"]) == 1
    assert "it did not make the call of cases/three/web/001.json" in capsys.readouterr().out


@pytest.mark.usefixtures("project")
def test_bad_folders_fail_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    put("cases/broken/topics/numbers/001.json", '{\n"value": \n}')
    put("cases/messages/topics/numbers/001.json", "{}")
    put("cases/nothing/case.toml", 'script = "gone.py"')
    assert main(["test", "-o", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["passed"], told["failed"]) == (2, 2)
    broken, messages, nothing, three = told["cases"]
    assert "cases/broken/topics/numbers/001.json:3: not JSON" in broken["problems"][0]
    assert messages["note"] == "1 messages read, and no script: name one in case.toml, or --script"
    assert nothing["problems"] == [f"There is no script {Path().absolute()}/cases/nothing/gone.py"]
    assert three["status"] == "passed"
    assert main(["test", "-k", "messages", "--script", "double.py"]) == 1


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["gone"], "There is no folder gone"),
        (["empty"], "There is no case in empty: a case is a folder with a case.toml or with topics/"),
        (["-k", "four"], "None of the 1 cases has 'four' in its name"),
        (["--kafka"], "There is no broker to test on: set KAFKA_BOOTSTRAP_SERVERS, or start one with `kirby dev`"),
    ],
)
def test_what_can_t_be_run_is_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setenv("KIRBY_HOME", "home")
    Path("empty").mkdir()
    assert main(["test", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_pytest_collects_cases_and_offers_fixtures(project: Path) -> None:
    """In a process of its own: this one's options and plugins are not a user's."""
    put("cases/hangs/case.toml", 'script = "../../hangs.py"\ntimeout = 0.1\n')
    put("hangs.py", "import time\ntime.sleep(60)\n")
    put(
        "test_double.py",
        """
from kirby.testing import Sent

def test_double(run_script):
    assert run_script("double.py", topics={"numbers": [Sent(2)]}).values("doubles") == [4]

def test_memory(memory_kafka):
    memory_kafka.add("numbers", 1)
    assert memory_kafka.values("numbers") == [1]
""",
    )
    (plugin,) = entry_points(group="pytest11", name="kirby")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", plugin.value]
    env = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ran = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert "1 failed, 3 passed" in ran.stdout
    assert "it did not end within 0.1 s" in ran.stdout
    assert "site-packages" not in ran.stdout


def test_the_plugin_brings_nothing_of_kirby_along() -> None:
    code = "import sys, kirby.pytest_plugin; print(sorted(m for m in sys.modules if m.startswith('kirby')))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "['kirby', 'kirby.pytest_plugin']\n"
