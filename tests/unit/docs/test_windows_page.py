"""The scripts of docs/howto/windows.md, each run until nothing is left to read, on Kafka in memory."""

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kirby
import pytest
from kirby.testing import MemoryKafka

PAGE = Path(__file__).parents[3] / "docs/howto/windows.md"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKafka]:
    for name in ("KIRBY_TOPIC_PREFIX", "KIRBY_GROUP", "KIRBY_JOB", "KIRBY_ENV", "KIRBY_SLOT", "KIRBY_RERUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("kirby._drain.asked", False)

    idle: list[int] = []

    def end() -> bool:
        # A State reads in a thread of its own; and what was just read may still make something due.
        if threading.current_thread() is threading.main_thread():
            idle.append(1)
        if len(idle) == 5:
            monkeypatch.setattr("kirby._drain.asked", True)
        return False

    with MemoryKafka() as memory:
        memory.when_idle = end
        yield memory


def run(number: int) -> None:
    script = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[number]
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(script, f"{PAGE.name} #{number}", "exec"), names)
    names["main"]()


def test_the_windows_of_the_page(kafka: MemoryKafka) -> None:
    for minute, celsius in ((0, 10), (30, 20), (75, 0)):
        at_ms = round((NOON + timedelta(minutes=minute)).timestamp() * 1000)
        kafka.add("readings", {"celsius": celsius}, key="Oslo", at_ms=at_ms)
    run(0)
    assert kafka.values("celsius.hourly") == [{"from": "2026-01-01T12:00:00+00:00", "mean": 15.0}]


def test_the_timers_of_the_page(kafka: MemoryKafka) -> None:
    for key, state in (("7", "new"), ("8", "new"), ("8", "paid")):
        kafka.add("orders", {"order": key, "state": state}, key=key, at_ms=round(NOON.timestamp() * 1000))
    run(1)
    assert {"order": "7", "state": "new"} in kafka.values("reminders")


def test_the_join_of_the_page(kafka: MemoryKafka) -> None:
    with kirby.State("rates", create=True) as rates:
        rates.set("CHF", 2)
    for currency in ("CHF", "XXX"):
        kafka.add("sales", {"currency": currency, "amount": 10})
    run(2)
    assert kafka.values("sales.euro") == [{"euro": 20}]
