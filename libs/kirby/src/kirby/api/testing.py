"""`topic_sender`: sends to any topic, in tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kirby.api.ext.topic import Producer, TopicConfig


@contextmanager
def topic_sender() -> Iterator[Callable[..., None]]:
    """Gives `send(topic_name, data, submitted=, headers=)`.

    >>> with topic_sender() as send:
    ...     send("readings", {"celsius": 11.4})
    """
    producers: dict[str, Producer] = {}

    def send(topic_name: str, data: Any, **kargs: Any) -> None:
        if topic_name not in producers:
            producers[topic_name] = Producer(TopicConfig(topic_name, None, False, True))
        producers[topic_name].send(data, **kargs)

    try:
        yield send
    finally:
        for producer in producers.values():
            producer.close()
