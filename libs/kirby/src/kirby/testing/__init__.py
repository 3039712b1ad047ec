"""For tests of scripts: run one with messages in memory, or put Kafka in memory below it.

    from kirby.testing import Sent, run_script

    def test_a_day():
        left = run_script("processor.py", topics={"weather.raw": [Sent({"celsius": 11.4}, key="Seattle")]})
        assert left.values("weather.daily") == [...]

The same with folders instead of code is `kirby test DIR`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kirby._process import Route
from kirby.message import Message
from kirby.testing.memory import MemoryKafka, MemoryRecord

if TYPE_CHECKING:
    from kirby.testing.folders import Sent
    from kirby.testing.recordings import Recording
    from kirby.testing.running import Outcome
    from kirby.testing.scripts import ScriptFailed, run_script, topic_sender

__all__ = [
    "MemoryKafka",
    "MemoryRecord",
    "Outcome",
    "Recording",
    "ScriptFailed",
    "Sent",
    "message",
    "run_script",
    "topic_sender",
]

_MODULES = {"Sent": "folders", "Recording": "recordings", "Outcome": "running"}


def __getattr__(name: str) -> Any:
    """What is not needed to read a message is loaded when it is used."""
    if name not in __all__:
        raise AttributeError(f"module 'kirby.testing' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"kirby.testing.{_MODULES.get(name, 'scripts')}"), name)
    globals()[name] = value
    return value


def message(
    value: Any,
    *,
    key: str | None = None,
    headers: Mapping[str, bytes] | None = None,
    topic: str = "test",
    partition: int = 0,
    offset: int = 0,
    timestamp: datetime = datetime(2026, 1, 1, tzinfo=UTC),
) -> Message[Any]:
    """A message as a handler gets it, with `value` as the Topic would have read it.

    >>> message({"celsius": 11.4}, key="Seattle").key
    'Seattle'
    """
    name = None if key is None else key.encode()
    at_ms = round(timestamp.timestamp() * 1000)
    record = MemoryRecord(topic, partition, offset, name, None, tuple((headers or {}).items()), at_ms)
    return Message(value, record, Route(topic))
