"""A processor of windows killed with -9 in mid-window, on Kafka: each event is in its window once, each window once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import kirby
import pytest
from kirby import _outbox, _process, transport
from kirby._shard import POSITION
from kirby.transport import BEGINNING, Position

from tests.eventually import eventually_sync

EVENTS = 3000
KEYS = 7
START = datetime(2026, 1, 1, tzinfo=UTC)
CODE = """
from datetime import timedelta
import kirby
five = kirby.Tumbling(timedelta(minutes=5), grace=timedelta(minutes=1))
with kirby.Topic("in", group="g") as source, kirby.Topic("out") as out:
    for w in source.windows(five, initial=list, fold=lambda all, m: [*all, m.value], every=0.05):
        out.send({"start": w.start.isoformat(), "events": w.value}, key=w.key)
"""


@pytest.fixture(autouse=True)
def script_environment(kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("KIRBY_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("KIRBY_SLOT", "0")
    yield
    monkeypatch.undo()
    _outbox._forget()
    transport._current = None
    _process.forget()


def start() -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", CODE], stderr=subprocess.PIPE, text=True)


def kept() -> int:
    """How many records of positions the changelog has: one a transaction and partition."""
    name = os.environ["KIRBY_TOPIC_PREFIX"] + ".kirby.windows.g.in"
    receiver = transport.current().receiver(group=None)
    try:
        if transport.current().admin().partitions(name) is None:
            return 0
        receiver.assign([Position(name, number, BEGINNING) for number in range(2)])
        found = 0
        while len(receiver.ends()) < 2:
            found += sum(record.key() == POSITION for record in receiver.poll(5000, 0.1))
        return found
    finally:
        receiver.close()


def has_committed(before: int) -> bool:
    return kept() > before


def send(source: "kirby.Topic[int]", number: int) -> None:
    source.send(number, key=str(number % KEYS), submitted=START + timedelta(seconds=number))


def test_a_kill_in_mid_window_loses_and_doubles_nothing() -> None:
    with kirby.Topic("in", create=True, partitions=2) as source, kirby.Topic("out", create=True) as out:
        out._make_sure()
        processor = start()
        for number in range(EVENTS):
            send(source, number)
            if number in (700, 1400, 2100):
                source.flush()
                before = kept()
                send(source, number)  # A second one, so that there is something to commit.
                eventually_sync(partial(has_committed, before), timeout=60, what="a transaction was committed")
            if number in (800, 1500, 2200):
                processor.kill()
                processor.communicate()
                processor = start()
        for key in range(KEYS):
            source.send(-1, key=str(key), submitted=START + timedelta(seconds=EVENTS + 3600))
        source.flush()
        windows: dict[tuple[str, str], list[int]] = {}
        count = 0
        while sum(map(len, windows.values())) < EVENTS + 3:
            message = out.next(timeout=60)
            assert message is not None, f"{sum(map(len, windows.values()))} of {EVENTS + 3} events came out"
            windows[str(message.key), message.value["start"]] = message.value["events"]
            count += 1
        assert out.next(timeout=0.5) is None
        processor.terminate()
        told = processor.communicate(timeout=60)[1]
    assert count == len(windows) == KEYS * 10
    assert sorted(n for events in windows.values() for n in events) == sorted([*range(EVENTS), 700, 1400, 2100])
    assert "Traceback" not in told
