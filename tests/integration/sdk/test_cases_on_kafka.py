"""The same cases on a real broker as in memory, and nothing of them is left on it."""

from pathlib import Path

import pytest
from kirby._confluent import Confluent
from kirby.cli.main import main

from tests.eventually import eventually_sync

EXAMPLES = Path(__file__).parents[3] / "examples"
LOOPS = """
import sys
from kirby import State, Topic
with Topic("numbers") as numbers, Topic("doubles") as doubles, State("sums", create=True) as sums:
    def handle(message):
        doubles.send(message.value * 2, key=message.key)
    if sys.argv[1] == "exactly":
        for message in numbers.exactly_once():
            handle(message)
    elif sys.argv[1] == "process":
        numbers.process(handle, threads=2)
    else:
        while (message := numbers.next(timeout=60)) is not None:
            handle(message)
            sums.update("all", lambda before: (before or 0) + message.value)
"""


@pytest.fixture(autouse=True)
def broker(kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> Confluent:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    return Confluent(kafka_bootstrap)


def test_cases_pass_on_kafka_as_in_memory(
    broker: Confluent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loops.py").write_text(LOOPS)
    for loop in ("next", "process", "exactly"):
        folder = tmp_path / loop / "topics" / "numbers"
        folder.mkdir(parents=True)
        (tmp_path / loop / "case.toml").write_text(f'script = "../loops.py"\nargs = ["{loop}"]\n')
        (folder / "001.jsonl").write_text("".join(f'{{"key": "{n % 3}", "value": {n}}}\n' for n in range(30)))
    folders = [str(tmp_path), str(EXAMPLES)]
    assert main(["test", str(tmp_path), "--update"]) == 0
    assert main(["test", *folders]) == 0
    passed = capsys.readouterr().out.splitlines()[-1]
    assert main(["test", *folders, "--kafka"]) == 0, capsys.readouterr().out
    assert capsys.readouterr().out.splitlines()[-1] == passed
    # Deleting a topic is done by the broker in its own time.
    eventually_sync(lambda: not broker.admin().names(prefix="kirby-test-"), timeout=60)
