"""What a replay copies: how much of a topic there is, and its records as they are, stretch by stretch."""

import base64
from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query
from kirby_common.ports import BusUnavailable, Record
from pydantic import AwareDatetime, BaseModel

from kirby_api.access.gate import Parts, TopicReader
from kirby_api.access.permissions import Permission
from kirby_api.logs.ports import Bounds
from kirby_api.messages import reading
from kirby_api.messages.reading import TopicRef
from kirby_api.problems import Invalid, Unavailable
from kirby_api.resources import Resources
from kirby_api.routes.documents import PROBLEMS

router = APIRouter(tags=["messages"], responses=PROBLEMS)
_TOGETHER = 2000
_BYTES = 8_000_000

Env = Annotated[str, Query(description="the environment")]
Instant = Annotated[AwareDatetime | None, Query()]


class Stretch(BaseModel):
    """Offsets `[begin, end)` of a partition."""

    partition: int
    begin: int
    end: int


class TopicExtent(BaseModel):
    """`cluster` and `prefix` say where the topic lies: two environments with the same ones are one place. `expired`:
    older messages of the time that was asked for have been deleted by the topic's retention.
    """

    topic: str
    prefix: str
    cluster: str
    partitions: list[Stretch]
    expired: bool = False


class RawRecord(BaseModel):
    """A record's bytes, in base64; `at_ms` is its time in milliseconds since 1970."""

    offset: int
    key: str | None
    value: str | None
    headers: list[tuple[str, str]]
    at_ms: int


class RawRecords(BaseModel):
    """`next` is where to go on; markers of transactions are passed over."""

    items: list[RawRecord]
    next: int


@router.get("/data/topics/{name}/extent", summary="Where a topic lies, and its offsets of a time")
async def get_topic_extent(
    name: str, parts: Parts, caller: TopicReader, env: Env = "prod", since: Instant = None, until: Instant = None
) -> TopicExtent:
    """From the first message at or after `since` until before the first at or after `until`."""
    ref = await _ref(parts, name, env, caller)
    try:
        kept = await reading.spans_of(parts.messages, ref)
        spans = kept if since is None else await reading.spans_of(parts.messages, ref, since=since)
        ends = {} if until is None else await reading.spans_of(parts.messages, ref, since=until)
        cluster = await parts.groups_of(None).cluster()
    except BusUnavailable as error:
        raise Unavailable(f"{error}; try again") from error
    partitions = [
        Stretch(
            partition=place[1], begin=span.begin, end=min(span.end, ends[place].begin) if place in ends else span.end
        )
        for place, span in sorted(spans.items())
    ]
    # Where the first message that is kept is one of that time, those deleted before it may have been so, too.
    expired = since is not None and any(span.begin == kept[place].begin > 0 for place, span in spans.items())
    prefix = ref.topic.removesuffix(name)
    return TopicExtent(topic=ref.topic, prefix=prefix, cluster=cluster, partitions=partitions, expired=expired)


@router.get("/data/topics/{name}/records", summary="Records of a partition as they are")
async def list_topic_records(
    name: str,
    parts: Parts,
    caller: TopicReader,
    partition: Annotated[int, Query(ge=0)],
    offset: Annotated[int, Query(ge=0, description="the first offset")],
    end: Annotated[int, Query(ge=0, description="the offset before which to stop")],
    env: Env = "prod",
) -> RawRecords:
    """About 2,000 at once; go on at `next` until it is `end`."""
    if offset > end:
        raise Invalid("end: the stretch ends before it begins")
    ref = await _ref(parts, name, env, caller)
    last = min(end, offset + _TOGETHER)
    try:
        records, complete = await _read(parts, (ref.topic, partition), Bounds(offset, last))
    except BusUnavailable as error:
        raise Unavailable(f"{error}; try again") from error
    return RawRecords(items=[_raw(r) for r in records], next=last if complete else records[-1].offset + 1)


async def _read(parts: Resources, place: tuple[str, int], span: Bounds) -> tuple[Sequence[Record], bool]:
    """The records, and whether these are all of the span."""
    found: list[Record] = []
    size = 0
    async with aclosing(parts.messages.read({place: span})) as batches:
        async for batch in batches:
            found += batch
            size += sum(len(record.value or b"") for record in batch)
            if size > _BYTES:
                return found, False
    return found, True


async def _ref(parts: Resources, name: str, env: str, caller: TopicReader) -> TopicRef:
    async with parts.sessions() as db:
        return await reading.topic_ref(db, name, env, caller=caller, permission=Permission.TOPICS_READ)


def _raw(record: Record) -> RawRecord:
    return RawRecord(
        offset=record.offset,
        key=None if record.key is None else _text(record.key),
        value=None if record.value is None else _text(record.value),
        headers=[(name, _text(value or b"")) for name, value in record.headers.items()],
        at_ms=record.timestamp_ms,
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
