"""S2: processors killed with -9 five times under load. Nothing is lost; exactly once, nothing is doubled."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kirby import _outbox, _process, transport

from tests.soak.kills import soak

KILLS = 5
PROCESSORS = 3


@pytest.fixture(autouse=True)
def script_environment(
    kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("KIRBY_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("KIRBY_STATE_DIR", str(tmp_path))
    yield
    monkeypatch.undo()
    _outbox._forget()
    transport._current = None
    _process.forget()


def test_nothing_is_lost_and_in_exactly_once_mode_and_in_windows_nothing_doubled() -> None:
    outcome = soak(kills=KILLS, seed=os.getpid())
    assert outcome.findings == []
    assert outcome.kills == KILLS * PROCESSORS
