"""S2: a processor killed with -9 five times under load. Nothing is lost; exactly once, nothing is doubled."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import kirby
import pytest
from kirby import _outbox, _process, transport

from tests.eventually import eventually_sync

MESSAGES = 12_000
KILLS = 5
KEYS = 97
AT_LEAST_ONCE = """
import kirby
with kirby.Topic("in", group="g-least") as source, kirby.Topic("least") as out:
    source.process(lambda m: out.send({"n": m.value["n"], "seen": True}, key=m.key), every=0.05)
"""
EXACTLY_ONCE = """
import kirby
with kirby.Topic("in", group="g-exact") as source, kirby.Topic("exact") as out:
    counts = kirby.OwnedState("counts", source, create=True)
    for m in source.exactly_once(every=0.05):
        counts.update(m.key, lambda n: (n or 0) + 1)
        out.send({"n": m.value["n"], "seen": True}, key=m.key)
"""


@pytest.fixture(autouse=True)
def script_environment(
    kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("KIRBY_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("KIRBY_SLOT", "0")
    monkeypatch.setenv("KIRBY_STATE_DIR", str(tmp_path))
    yield
    monkeypatch.undo()
    _outbox._forget()
    transport._current = None
    _process.forget()


class Processor:
    """One replica in its slot, started again after each kill, as a daemon is."""

    def __init__(self, code: str, out: str) -> None:
        self._code = code
        self._out = out
        self._seen = 0
        self.kills = 0
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", self._code], stderr=subprocess.PIPE, text=True)

    def has_moved(self) -> bool:
        return written(self._out) > self._seen

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()
        self.kills += 1
        self._seen = written(self._out)
        self.start()

    def end(self) -> str:
        self._process.terminate()
        return self._process.communicate(timeout=60)[1]


def written(topic: str) -> int:
    """Offsets used, markers included."""
    name = os.environ["KIRBY_TOPIC_PREFIX"] + topic
    receiver = transport.current().receiver(group=None)
    try:
        return sum(receiver.watermarks(name, number).high for number in range(4))
    finally:
        receiver.close()


def numbers(topic: str) -> Counter[int]:
    os.environ.pop("KIRBY_GROUP", None)
    with kirby.Topic(topic) as out:
        found: Counter[int] = Counter()
        while len(found) < MESSAGES:
            batch = out.nexts(5000, timeout=60)
            assert batch, f"{MESSAGES - len(found)} messages are missing from {topic}"
            found.update(m.value["n"] for m in batch)
        found.update(m.value["n"] for m in out.nexts(5000, timeout=0.5))
        return found


def test_nothing_is_lost_and_in_exactly_once_mode_nothing_doubled() -> None:
    with kirby.Topic("in", create=True) as source, kirby.Topic("least", create=True), kirby.Topic("exact", create=True):
        for topic in ("least", "exact"):
            kirby.Topic(topic, create=True)._make_sure()
        source.send({"n": 0}, key="0")
        source.flush()
        processors = [Processor(AT_LEAST_ONCE, "least"), Processor(EXACTLY_ONCE, "exact")]
        for number in range(1, MESSAGES):
            source.send({"n": number}, key=str(number % KEYS))
            if number % (MESSAGES // (KILLS + 1)) == 0:
                for processor in processors:
                    if processor.kills < KILLS:
                        eventually_sync(processor.has_moved, timeout=60, what="a message got through")
                        processor.kill()
    least, exact = numbers("least"), numbers("exact")
    told = [processor.end() for processor in processors]
    assert [processor.kills for processor in processors] == [KILLS, KILLS]
    assert set(least) == set(exact) == set(range(MESSAGES))
    assert max(exact.values()) == 1
    with kirby.State("counts") as counts:
        assert dict(counts.items()) == {str(k): len(range(k, MESSAGES, KEYS)) for k in range(KEYS)}
        for key in ("0", "1", "96"):
            counted = [(v.version, v.value) for v in counts.history(key)]
            assert counted == [(n, n) for n in range(1, len(range(int(key), MESSAGES, KEYS)) + 1)]
    assert not [text for text in told if "Traceback" in text]
