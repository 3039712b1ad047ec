"""The producing half of a Topic: what the runtime adds to a message, and what it refuses."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from kirby import lineage
from kirby._hand import InHand, in_hand
from kirby._process import process
from kirby._serializers import CONTENT_TYPE
from kirby.errors import BadValue, OutsideRetention
from kirby.transport import Headers, TopicAdmin

MOST_HEADERS = 100
MOST_HEADER_BYTES = 64 * 1024
_AHEAD = timedelta(hours=1)


tracing: bool = os.environ.get("KIRBY_TRACING", "") == "1"
"""Whether messages and web calls carry a `traceparent` (W3C), whose trace is that of the `kirby` header."""


class Out(Protocol):
    """Where a send goes: the process's outbox, or the transaction that is under way."""

    def send(self, topic: str, value: bytes | None, key: bytes | None, headers: Headers, at_ms: int) -> None: ...


def onward(source: InHand | None) -> bytes:
    """The `kirby` header: made from `source`, or from what is in hand, or from nothing."""
    held = source if source is not None else in_hand()
    if held is not None:
        return held.onward()
    this = process()
    hop = lineage.pack_hop(this.id_for(""), lineage.NO_INPUT, lineage.NO_INPUT)
    return lineage.begin(this.trace(), hop, flags=this.flags)


def traceparent(header: bytes) -> tuple[str, bytes]:
    """The header for other tracers: the message's trace, and a span for its last hop."""
    trace = header[4:20].hex()
    return ("traceparent", f"00-{trace}-{os.urandom(8).hex()}-01".encode())


def with_own(headers: Mapping[str, str | bytes], ours: Headers, *, topic: str) -> Headers:
    """The script's headers after Kirby's; `kirby` is the runtime's alone. Raises BadValue beyond the limits."""
    names = set(headers)
    made = [(name, value) for name, value in ours if name == lineage.HEADER or name not in names]
    size = 0
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str | bytes):
            raise BadValue(topic, f"the header {name!r} is not a text with a text or bytes for its value")
        size += len(name) + len(value)
        if name != lineage.HEADER:
            made.append((name, value))
    if len(names) > MOST_HEADERS or size > MOST_HEADER_BYTES:
        raise BadValue(topic, f"it has more than {MOST_HEADERS} headers or {MOST_HEADER_BYTES // 1024} kB of them")
    return made


def content_type(text: str) -> tuple[str, bytes]:
    return (CONTENT_TYPE, text.encode())


def key_bytes(key: Any, *, topic: str) -> bytes | None:
    if key is None or isinstance(key, bytes):
        return key
    if isinstance(key, str):
        return key.encode()
    raise BadValue(topic, f"its key is a {type(key).__name__}, not a text or bytes")


class Dates:
    """Whether a topic keeps a message of a given time; asks the broker once, and only for messages with a time."""

    def __init__(self, topic: str, admin: TopicAdmin) -> None:
        self._topic = topic
        self._admin = admin
        self._known = False
        self._retention: timedelta | None = None

    def checked_ms(self, moment: datetime) -> int:
        """Kafka's reckoning of `moment`. Raises OutsideRetention, or ValueError for one without a zone."""
        if moment.tzinfo is None:
            raise ValueError("submitted= must be an aware datetime, for example datetime.now(UTC)")
        now = datetime.now(UTC)
        if moment > now + _AHEAD:
            raise OutsideRetention(self._topic, f"{moment.isoformat()} is more than an hour ahead")
        kept = self._kept()
        if kept is not None and moment < now - kept:
            raise OutsideRetention(
                self._topic,
                f"{moment.isoformat()} is older than its retention of {kept}, so the broker would delete it",
            )
        return round(moment.timestamp() * 1000)

    def _kept(self) -> timedelta | None:
        if not self._known:
            config = self._admin.config(self._topic)
            milliseconds = int(config.get("retention.ms", -1))
            deletes = "delete" in config.get("cleanup.policy", "delete")
            self._retention = timedelta(milliseconds=milliseconds) if milliseconds >= 0 and deletes else None
            self._known = True
        return self._retention
