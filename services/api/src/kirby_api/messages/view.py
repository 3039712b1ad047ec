"""Topics and their messages as REST shows them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from kirby import lineage
from kirby_common.durations import Duration
from kirby_common.ports import Record
from pydantic import BaseModel, ConfigDict, Field

from kirby_api.shown import shown
from kirby_api.states.difference import Difference

_CONTENT_TYPE = "content-type"
_JSON = "application/json"


class TopicInfo(BaseModel):
    """A topic of an environment. `partitions` is null for one that is registered and not in Kafka (yet); `id`,
    `description` and `fresh_within` are those of the registration.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "weather.raw", "env": "prod", "topic": "weather.raw", "partitions": 4, "messages": 4711,
                 "newest": "2026-11-21T10:00:00Z", "registered": True, "description": "one a day",
                 "fresh_within": "1d", "id": "7c9e6679-7425-40de-944b-e07fc1f90ae7"}
            ]
        }
    )  # fmt: skip

    name: str
    env: str | None
    topic: str = Field(description="its name in Kafka, prefix included")
    partitions: int | None = None
    messages: int | None = Field(default=None, description="about: the marks of transactions count")
    newest: datetime | None = None
    registered: bool = False
    description: str = ""
    fresh_within: Duration | None = None
    id: UUID | None = None


class MessageView(BaseModel):
    """One message; what is not JSON has its bytes in `base64`. Messages of a re-run have `rerun`, others have not."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"topic": "weather.raw", "partition": 0, "offset": 17, "place": "0:17", "key": "Seattle",
                 "value": {"celsius": 11.4}, "base64": None, "content_type": "application/json",
                 "timestamp": "2026-11-21T10:00:00.123Z", "headers": {}, "trace": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
                 "hops": 1}
            ]
        }
    )  # fmt: skip

    topic: str
    partition: int
    offset: int
    place: str
    key: str | None
    value: Any = None
    base64: str | None = None
    content_type: str | None = None
    timestamp: datetime
    headers: dict[str, str] = {}
    trace: str | None = None
    hops: int = Field(default=0, description="how many processes have had it in hand")
    rerun: Literal[True] | None = Field(default=None, exclude_if=lambda value: value is None)


class PartitionLag(BaseModel):
    partition: int
    position: int
    end: int
    lag: int


class GroupLag(BaseModel):
    """How many messages of a topic wait for a consumer group."""

    group: str
    lag: int
    partitions: list[PartitionLag]


class MessageChange(BaseModel):
    """A message that is in one topic only, or in both with another value."""

    what: Literal["added", "removed", "changed"]
    key: str | None
    before: str | None = Field(description="PARTITION:OFFSET in the first topic")
    after: str | None = Field(description="PARTITION:OFFSET in the other topic")
    changes: list[Difference]


class TopicsDiff(BaseModel):
    """What differs between two topics. `same` messages have an equal counterpart."""

    before: str
    after: str
    same: int
    added: int
    removed: int
    changed: int
    items: list[MessageChange] = Field(description="the first 1000")


def message_view(record: Record) -> MessageView:
    """Of a record, with what its packed header says."""
    packed = record.headers.get(lineage.HEADER)
    known = None if packed is None else lineage.unpack(packed)
    kind = record.headers.get(_CONTENT_TYPE)
    content_type = None if kind is None else kind.decode(errors="replace")
    return MessageView(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        place=f"{record.partition}:{record.offset}",
        key=None if record.key is None else record.key.decode(errors="replace"),
        content_type=content_type,
        timestamp=datetime.fromtimestamp(record.timestamp_ms / 1000, UTC),
        headers=_texts(record.headers),
        trace=None if known is None else known.trace.hex(),
        hops=0 if known is None else len(known.hops) + known.dropped,
        rerun=True if known is not None and known.rerun else None,
        **({} if record.value is None else shown(record.value, is_json=content_type in (None, _JSON))),
    )


def _texts(headers: Mapping[str, bytes]) -> dict[str, str]:
    own = (lineage.HEADER, _CONTENT_TYPE)
    return {name: (value or b"").decode(errors="replace") for name, value in headers.items() if name not in own}
