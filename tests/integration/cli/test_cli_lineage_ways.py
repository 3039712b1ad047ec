"""The journey over ways that are not a plain send: a handler in a pool's process, and States, shared and owned."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kirby as sdk
import pytest

from tests.eventually import eventually_sync
from tests.integration.cli.conftest import Command
from tests.integration.cli.test_cli_lineage import journey, run
from tests.stores.suites import RunningSuite, clean_environment

__all__ = ["run"]

POOL = """
import sys
import kirby
raw, out = sys.argv[1:]
squares = kirby.Topic(out, create=True, partitions=1)
def square(message):
    squares.send(message.value ** 2, key=message.key)
if __name__ == "__main__":
    with kirby.Topic(raw, group=raw) as taken:
        taken.process(square, processes=1)
"""


@contextmanager
def script(path: Path, *words: str, env: dict[str, str]) -> Iterator[None]:
    """A script in a process of its own, ended by SIGTERM as a daemon is."""
    process = subprocess.Popen([sys.executable, str(path), *words], env=clean_environment() | env)
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def touched(kirby: Command, topic: str, *, count: int) -> list[tuple[Any, ...]]:
    """What came of the topic's first message, once the recorder knows so much of it."""

    def look() -> list[Any]:
        found = journey(kirby, topic)["touched"]
        return found if len(found) == count else []

    found = eventually_sync(look, timeout=60, what="the recorder")
    return sorted((t["kind"], t["name"], t["by"], t["exact"]) for t in found)


def test_what_a_handler_in_a_process_of_a_pool_sends_is_made_from_its_message(
    kirby: Command,
    run: Callable[..., Any],
    suite: RunningSuite,
    unique_name: Callable[[str], str],
    tmp_path: Path,
) -> None:
    raw, out = unique_name("raw"), unique_name("squares")
    with run("sensor", "1.0"), sdk.Topic(raw, create=True, partitions=1) as source:
        source.send(3, key="k")
        source.send(4, key="k")
    path = tmp_path / "squares.py"
    path.write_text(POOL)
    servers = suite.env["KAFKA_BOOTSTRAP_SERVERS"]
    who = {"KIRBY_JOB": "squares", "KIRBY_VERSION": "1.0", "KIRBY_ENV": "prod", "KIRBY_RUN_ID": "run-of-squares"}
    with script(path, raw, out, env={"KAFKA_BOOTSTRAP_SERVERS": servers, **who}):
        assert touched(kirby, raw, count=1) == [("topic", out, "squares@1.0", True)]
    sensor, pool = journey(kirby, out, "0:1")["hops"]
    assert (sensor["by"], sensor["output"]["topic"], sensor["output"]["place"]) == ("sensor@1.0", raw, "0:1")
    assert (pool["by"], pool["run_id"]) == ("squares@1.0", "run-of-squares")
    assert pool["inputs"] == [{"topic": raw, "partition": 0, "from": 1, "to": 2}]


def test_what_a_message_has_written_to_states_is_in_its_journey_and_in_the_graph(
    kirby: Command,
    run: Callable[..., Any],
    unique_name: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw, prices, counts = unique_name("raw"), unique_name("prices"), unique_name("counts")
    monkeypatch.setenv("KIRBY_STATE_DIR", str(tmp_path))
    with run("sensor", "1.0"), sdk.Topic(raw, create=True, partitions=1) as source:
        source.send({"price": 11}, key="k")
    with (
        run("pricer", "1.0"),
        sdk.State(prices, create=True) as shared,
        sdk.Topic(raw, group=unique_name("g")) as taken,
    ):
        message = taken.next(timeout=60)
        assert message is not None
        shared[str(message.key)] = message.value
        taken.commit()
    with run("counter", "1.0"), sdk.Topic(raw, group=unique_name("g")) as taken:
        owned = sdk.OwnedState(counts, taken, create=True)
        seen: list[str] = []
        while not seen:
            for message in taken.exactly_once(timeout=2):
                owned.update(str(message.key), lambda count: (count or 0) + 1)
                seen.append(message.place)
    assert seen == ["0:0"]
    assert touched(kirby, raw, count=2) == [
        ("state", counts, "counter@1.0", True),
        ("state", prices, "pricer@1.0", True),
    ]
    ends = {(e["source"], e["target"]) for e in kirby.json("lineage", raw)["edges"]}
    assert {("job:prod/pricer", f"state:prod/{prices}"), ("job:prod/counter", f"state:prod/{counts}")} <= ends
