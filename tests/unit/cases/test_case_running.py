"""Scripts that run with what a test gives them: each ends by itself, and what it left is seen."""

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import kirby
import pytest
from kirby import _drain
from kirby.testing import Outcome, Recording, ScriptFailed, Sent, run_script
from kirby.testing._script import NoScript
from kirby.webclient import Answer

Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Writes the script, and runs it."""

    def run(code: str, **more: object) -> Outcome:
        path = tmp_path / "script.py"
        path.write_text(code)
        return run_script(path, **more)  # type: ignore[arg-type]

    return run


NUMBERS = {"numbers": [Sent(n, key=str(n)) for n in range(1, 4)]}
LOOPS = {
    "iteration": "for m in numbers: doubles.send(m.value * 2)",
    "next without a timeout": "while True: doubles.send(numbers.next().value * 2)",
    "next with a timeout": """
while (m := numbers.next(timeout=60)) is not None: doubles.send(m.value * 2)""",
    "next with a timeout, for ever": """
while True:
    m = numbers.next(timeout=60)
    if m is not None: doubles.send(m.value * 2)""",
    "a batch": "while batch := numbers.nexts(timeout=60): [doubles.send(m.value * 2) for m in batch]",
    "process": "numbers.process(lambda m: doubles.send(m.value * 2))",
    "process in threads": "numbers.process(lambda m: doubles.send(m.value * 2), threads=3)",
    "process with a timeout": "numbers.process(lambda m: doubles.send(m.value * 2), timeout=60)",
    "batches": "numbers.process_batches(lambda b: [doubles.send(m.value * 2) for m in b])",
    "exactly once": "for m in numbers.exactly_once(): doubles.send(m.value * 2)",
    "exactly once in batches": """
numbers.process_batches(lambda b: [doubles.send(m.value * 2) for m in b], exactly_once=True)""",
}


@pytest.mark.parametrize("loop", LOOPS)
def test_every_kind_of_loop_ends_once_all_is_read(loop: str, run: Run) -> None:
    code = f"from kirby import Topic\nwith Topic('numbers') as numbers, Topic('doubles') as doubles:\n{indented(loop)}"
    assert sorted(run(code, topics=NUMBERS).values("doubles")) == [2, 4, 6]


def indented(loop: str) -> str:
    return "".join(f"    {line}\n" for line in LOOPS[loop].strip().splitlines())


def test_what_a_script_does_after_its_loop_is_done(run: Run) -> None:
    left = run(
        """
from kirby import Topic
total = 0
numbers = Topic("numbers")
while (m := numbers.next(timeout=60)) is not None:
    total += m.value
Topic("totals").send(total)
""",
        topics=NUMBERS,
    )
    assert left.values("totals") == [6]


def test_two_topics_are_both_read_to_their_ends(run: Run) -> None:
    left = run(
        """
from kirby import Topic
a, b, out = Topic("a"), Topic("b"), Topic("out")
while True:
    for topic in (a, b):
        if (m := topic.next(timeout=60)) is not None:
            out.send(m.value)
""",
        topics={"a": [Sent(1)], "b": [Sent(n) for n in (2, 3, 4)]},
    )
    assert left.values("out") == [1, 2, 3, 4]


def test_what_a_script_sends_to_its_own_input_is_read_too(run: Run) -> None:
    left = run(
        """
from kirby import Topic
with Topic("numbers", group="down") as numbers:
    for m in numbers:
        if m.value > 0:
            numbers.send(m.value - 1)
        numbers.commit()
""",
        topics={"numbers": [Sent(3)]},
    )
    assert left.values("numbers") == [2, 1, 0]


def test_asyncio_scripts_end_too(run: Run) -> None:
    left = run(
        """
import asyncio
from kirby.aio import Topic
async def main():
    async with Topic("numbers") as numbers, Topic("doubles") as doubles:
        async for m in numbers:
            await doubles.send(m.value * 2)
asyncio.run(main())
""",
        topics=NUMBERS,
    )
    assert left.values("doubles") == [2, 4, 6]


def test_states_are_found_and_left(run: Run) -> None:
    left = run(
        """
from kirby import State, Topic
with Topic("numbers") as numbers, State("sums") as sums:
    for m in numbers:
        sums.update(str(m.value % 2), lambda before: before + m.value)
""",
        topics=NUMBERS,
        states={"sums": {"0": 100, "1": 200}},
    )
    assert left.states == {"sums": {"0": 102, "1": 204}}


def test_an_owned_state_and_a_large_value_lie_in_folders_of_the_test(run: Run) -> None:
    left = run(
        """
import kirby
with kirby.Topic("clicks") as clicks, kirby.State("pages", create=True) as pages:
    hits = kirby.OwnedState("hits", clicks, create=True)
    for message in clicks.exactly_once():
        hits[message.key] = hits.get(message.key, 0) + 1
    pages["long"] = "x" * 300_000
""",
        topics={"clicks": [Sent(None, key="home"), Sent(None, key="about"), Sent(None, key="home")]},
    )
    assert left.states["hits"] == {"about": 1, "home": 2}
    assert left.states["pages"] == {"long": "x" * 300_000}


def test_files_are_found_watched_and_left(run: Run, tmp_path: Path) -> None:
    left = run(
        """
from kirby import File
for found in File("s3://inbox/").watch("*.csv"):
    File("s3://outbox/" + found.name).write(found.read().upper())
""",
        files={"s3/inbox/a.csv": b"a", "s3/inbox/b.csv": b"b", "s3/inbox/c.txt": b"c"},
    )
    assert left.files == {"s3/outbox/a.csv": b"A", "s3/outbox/b.csv": b"B"}


CALL = """
from kirby import WebClient
with WebClient("met", "https://met.test") as met:
    print(met.get("stations", params={"unit": "c"}))
    print(met.post("reports", {"celsius": 11.4}))
"""


def test_web_services_answer_from_recordings(run: Run) -> None:
    stations = Recording({"method": "GET", "url": "https://met.test/stations", "params": {"unit": "c"}}, answer(b"[1]"))
    reports = Recording({"method": "POST", "url": "https://met.test/reports", "json": {"celsius": 11.4}}, answer(b"2"))
    left = run(CALL, web=[reports, stations])
    assert left.output == "[1]\n2\n"
    assert left.calls.unused() == []


def test_a_call_without_a_recording_is_named(run: Run) -> None:
    left = run(CALL, exit_code=1)
    assert "There is no recording of GET https://met.test/stations {'unit': 'c'}: make it with" in left.ran.trace


def answer(content: bytes) -> Answer:
    return Answer(200, content)


def test_the_script_sees_the_time_of_the_test_and_its_sleep_takes_none(run: Run) -> None:
    began = time.monotonic()
    left = run(
        """
import time
from datetime import datetime, UTC
from kirby import Topic, ctx
print(ctx.due_at.isoformat())
with Topic("times") as times:
    times.send(datetime.now(UTC))
    time.sleep(3600)
    times.send(datetime.now(UTC))
""",
        now=datetime(2026, 1, 1, 12, tzinfo=UTC),
    )
    assert left.values("times") == ["2026-01-01T12:00:00+00:00", "2026-01-01T13:00:00+00:00"]
    assert [m.timestamp for m in left.topics["times"]] == [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (12, 13)]
    assert left.output == "2026-01-01T12:00:00+00:00\n"
    assert time.monotonic() - began < 3000


def test_a_script_that_raises_is_shown_from_its_own_first_line(run: Run, tmp_path: Path) -> None:
    left = run("from kirby import Topic\ndef work():\n    Topic('t').send(object())\nwork()\n", exit_code=1)
    lines = left.ran.trace.splitlines()
    ours = [line for line in lines if line.startswith('  File "')]
    assert all(f'File "{tmp_path}/script.py"' in line for line in ours)
    assert len(ours) == 2
    assert lines[-1].startswith("kirby.errors.BadValue: This can't be sent to the topic 't': application/json:")


def test_a_script_that_hangs_is_ended_and_shown_where_it_was(run: Run) -> None:
    with pytest.raises(ScriptFailed) as raised:
        run("while True:\n    try:\n        while True: pass\n    except Exception:\n        pass\n", timeout=1)
    assert raised.value.outcome.ran.hung
    assert "script.py" in raised.value.outcome.ran.trace
    assert raised.value.outcome.ran.trace.endswith("it did not end within 1 s")


def test_exit_codes_are_the_script_s(run: Run) -> None:
    assert run("import sys; sys.exit(3)", exit_code=3).exit_code == 3
    assert run("import sys; sys.exit('no')", exit_code=1).output == "no\n"
    with pytest.raises(ScriptFailed, match="it ended with exit code 3, and 0 was expected"):
        run("import sys; sys.exit(3)")


def test_a_topic_that_was_not_given_is_told(run: Run) -> None:
    left = run("from kirby import Topic\nfor m in Topic('weather.raw', create=True): pass")
    assert left.unfed == ["weather.raw"]


def test_nothing_of_a_script_stays_behind(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRBY_JOB", "outside")
    before = dict(os.environ), list(sys.path), os.getcwd(), sys.argv
    left = run(
        "import os, sys, signal, logging\nsys.path.append('x'); sys.argv.append('y'); os.environ['Z'] = '1'\n"
        "import kirby; kirby.logger().info('hello'); print(os.environ['KIRBY_JOB'], sys.argv)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); open('here', 'w').close()",
        args=["a"],
        env={"KIRBY_JOB": "weather"},
    )
    assert "INFO script: hello" in left.output
    assert "weather [" in left.output
    assert (dict(os.environ), list(sys.path), os.getcwd(), sys.argv) == before
    assert not _drain.asked
    assert not kirby.draining()


def test_two_versions_of_a_module_run_one_after_the_other(tmp_path: Path) -> None:
    for version in ("1", "2"):
        folder = tmp_path / version / "src" / "weather"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("from weather.inner import VERSION\ndef main():\n    print(VERSION)\n")
        (folder / "inner.py").write_text(f"VERSION = {version}\n")
    outputs = [run_script("weather:main", root=tmp_path / version).output for version in ("1", "2")]
    assert outputs == ["1\n", "2\n"]
    assert "weather" not in sys.modules


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("gone.py", r"There is no script /.*/gone\.py"),
        ("gone:main", "There is no module gone for the script gone:main"),
        ("json:gone", "The module json has no gone for the script json:gone"),
    ],
)
def test_a_script_that_is_not_there_is_named(script: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(NoScript, match=told):
        run_script(script, root=tmp_path)
