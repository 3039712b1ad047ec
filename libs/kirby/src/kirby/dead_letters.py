"""Where messages go that a handler can't work on, so that they block no partition."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from kirby import _kafka, _places, lineage
from kirby._outbox import outbox
from kirby._process import Route, process
from kirby.errors import BadMessage, BadValue, CallFailed, KirbyError
from kirby.transport import Record, Transport

HEADER = "kirby-dead-letter"


@dataclass(frozen=True)
class DeadLetters:
    """A message whose handler raised `attempts` times is put on `topic` (default: the source's name with
    `.dead-letters`), which is created when absent, and counts as done.

    It keeps its key, bytes, time and headers, and gets the header `kirby-dead-letter`: JSON with `topic`, `partition`,
    `offset`, `reason`, `attempt`, `job`, `run_id` and `at`. `but` are errors that mean the handler's surroundings
    are at fault, not the message: they stop the processing as without dead letters.

    >>> DeadLetters(attempts=3).attempts
    3
    """

    topic: str | None = None
    attempts: int = 1
    but: tuple[type[Exception], ...] = field(default=())

    def name(self, source: str) -> str:
        """The topic's full name, for a source with its prefix; in a shadow rewind that of the one beside it."""
        return _places.written(self._own_name(source))

    def prepare(self, source: str, way: Transport) -> None:
        """Create the topic when it is absent, as wide as its source. Raises KafkaUnavailable."""
        admin = way.admin()
        wide = admin.partitions(source) or 1
        if self.name(source) != (own := self._own_name(source)):
            _places.make_beside(admin, own, partitions=admin.partitions(own) or wide)
        elif admin.partitions(own) is None:
            admin.create(own, partitions=wide, config={"retention.ms": "-1"})

    def _own_name(self, source: str) -> str:
        return f"{source}.dead-letters" if self.topic is None else _kafka.prefix() + self.topic

    def takes(self, error: Exception) -> bool:
        """Whether the message is to blame; what Kafka or the SDK ran into never is."""
        if isinstance(error, KirbyError) and not isinstance(error, BadMessage | BadValue | CallFailed):
            return False
        return not isinstance(error, self.but)


def put_aside(
    record: Record, error: Exception, *, letters: DeadLetters, attempt: int, route: Route, out: Any = None
) -> None:
    """Send the record to the dead letters, with why. `route` is that of the topic that it was read from."""
    source = record.topic()
    told = {
        "topic": source,
        "partition": record.partition(),
        "offset": record.offset(),
        "reason": f"{type(error).__name__}: {error}"[:2000],
        "attempt": attempt,
        "job": os.environ.get("KIRBY_JOB"),
        "run_id": os.environ.get("KIRBY_RUN_ID"),
        "at": datetime.now(UTC).isoformat(),
    }
    headers = [(n, v) for n, v in record.headers() or () if n not in (HEADER, lineage.HEADER)]
    own = [(lineage.HEADER, route.onward(record)), (HEADER, orjson.dumps(told))]
    name, at_ms = letters.name(source), record.timestamp()[1]
    queue = process().sending(name)
    (out or outbox()).send(name, record.value(), record.key(), own + headers, at_ms)
    queue.append(own[0][1])
    process().dated(name, at_ms)
