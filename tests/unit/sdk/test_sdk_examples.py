"""The examples in the SDK's docstrings are executed, on Kafka in memory."""

import doctest
import importlib
from collections.abc import Iterator

import pytest
from kirby.testing import MemoryKafka

MODULES = (
    "kirby.topic",
    "kirby.message",
    "kirby.lineage",
    "kirby.dead_letters",
    "kirby.joins",
    "kirby.windows",
    "kirby._changelog",
    "kirby._shard",
    "kirby.testing",
    "kirby.testing._files",
    "kirby.testing.comparing",
    "kirby.testing.folders",
    "kirby.testing.memory",
    "kirby.testing.recordings",
    "kirby.testing.scripts",
    "kirby.api",
    "kirby.api.context",
    "kirby.api.ext.topic",
    "kirby.api.ext.webclient",
    "kirby.api.log",
    "kirby.api.queue",
    "kirby.api.testing",
    "kirby.aio",
    "kirby.files",
    "kirby.registration",
    "kirby.state.owned",
    "kirby.state.table",
    "kirby.webclient",
    "kirby._progress",
    "kirby._retry",
    "kirby._serializers",
)


@pytest.fixture
def outside_kirby(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("KIRBY_TOPIC_PREFIX", "KIRBY_GROUP", "KIRBY_JOB", "KIRBY_ENV", "KIRBY_URL", "ID"):
        monkeypatch.delenv(name, raising=False)
    with MemoryKafka():
        yield


@pytest.mark.usefixtures("outside_kirby")
@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
