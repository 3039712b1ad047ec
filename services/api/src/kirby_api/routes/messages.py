"""The topics of scripts: which there are, their messages, who reads them, what differs between two."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from sse_starlette import EventSourceResponse

from kirby_api.access.gate import Parts, Reader, TopicReader
from kirby_api.access.permissions import Permission
from kirby_api.logs.events import event
from kirby_api.logs.ports import Bounds
from kirby_api.logs.position import format_offsets, parse_offsets
from kirby_api.messages import reading
from kirby_api.messages.difference import topics_diff
from kirby_api.messages.ports import Partition
from kirby_api.messages.reading import TopicRef
from kirby_api.messages.view import GroupLag, MessageView, TopicInfo, TopicsDiff, message_view
from kirby_api.paging import Page
from kirby_api.problems import Invalid
from kirby_api.resources import Resources
from kirby_api.routes.documents import PROBLEMS
from kirby_api.routes.logs import PING_S, STREAM, LastEventId

router = APIRouter(tags=["messages"], responses=PROBLEMS)

Env = Annotated[str, Query(description="the environment")]
Number = Annotated[int | None, Query(ge=0, description="only of this partition")]
Since = Annotated[datetime | None, Query(description="only from this instant on (aware)")]
MOST_COMPARED = 20_000


@router.get("/data/topics", summary="The topics that there are, and those that are registered")
async def list_data_topics(
    parts: Parts, caller: Reader, env: Annotated[str | None, Query(description="only of this environment")] = None
) -> Page[TopicInfo]:
    async with parts.sessions() as db:
        infos, there = await reading.list_topics(db, parts.messages, caller=caller, env=env)
    bounds = await parts.messages.bounds(there) if there else {}
    newest = await parts.offsets.newest(there) if there else {}
    return Page(items=reading.filled(infos, bounds, newest))


@router.get("/data/topics/{name}/messages", summary="Messages of a topic: the newest, or from a place on")
async def list_messages(
    name: str,
    parts: Parts,
    caller: TopicReader,
    env: Env = "prod",
    partition: Number = None,
    offset: Annotated[int | None, Query(ge=0, description="from this offset on; needs a partition")] = None,
    since: Since = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="how many at most")] = 10,
) -> Page[MessageView]:
    """Oldest first: the last `limit`, or with `offset` or `since` the first from there on."""
    if offset is not None and partition is None:
        raise Invalid("offset: an offset is one of a partition: say which")
    ref = await _ref(parts, name, env, caller)
    spans = await reading.spans_of(parts.messages, ref, partition=partition, since=_aware(since))
    if offset is not None:
        spans = {p: Bounds(max(span.begin, offset), span.end) for p, span in spans.items()}
    if offset is None and since is None:
        records = await reading.last_in(parts.messages, spans, limit)
    else:
        records = await reading.first_in(parts.messages, _within(spans, limit), limit)
    return Page(items=[message_view(r) for r in records])


@router.get(
    "/data/topics/{name}/tail",
    response_class=EventSourceResponse,
    responses=STREAM,
    summary="Follow a topic",
)
async def stream_messages(
    name: str,
    parts: Parts,
    caller: TopicReader,
    env: Env = "prod",
    partition: Number = None,
    since: Since = None,
    last_event_id: LastEventId = None,
) -> EventSourceResponse:
    """Events: `message`. From now on, or from `since`, or on from the event whose id is sent as Last-Event-ID."""
    ref = await _ref(parts, name, env, caller)
    spans = await reading.spans_of(parts.messages, ref, partition=partition, since=_aware(since))
    offsets = {p: span.end if since is None else span.begin for p, span in spans.items()}
    if last_event_id:
        offsets |= {(ref.topic, n): at for n, at in parse_offsets(last_event_id).items() if (ref.topic, n) in offsets}
    return EventSourceResponse(_followed(parts, offsets), ping=PING_S)


@router.get("/data/topics/{name}/lag", summary="The consumer groups of a topic, and how much waits for each")
async def list_topic_lag(name: str, parts: Parts, caller: Reader, env: Env = "prod") -> Page[GroupLag]:
    ref = await _ref(parts, name, env, caller, Permission.READ)
    bounds = await reading.spans_of(parts.messages, ref)
    return Page(items=reading.lags(await parts.offsets.readers(ref.topic), bounds, topic=ref.topic))


@router.get("/data/topics/{name}/diff", summary="What differs between the messages of two topics")
async def diff_topics(
    name: str,
    other: Annotated[str, Query(description="the other topic")],
    parts: Parts,
    caller: TopicReader,
    env: Env = "prod",
    other_env: Annotated[str | None, Query(description="its environment; unset: the same")] = None,
    since: Since = None,
    limit: Annotated[int, Query(ge=1, le=MOST_COMPARED, description="the newest so many of each")] = 10_000,
) -> TopicsDiff:
    """Messages are paired by key, in their order; those without one by their order in a partition."""
    first = await _ref(parts, name, env, caller)
    second = await _ref(parts, other, other_env or env, caller)
    sides: list[Sequence[MessageView]] = []
    for ref in (first, second):
        spans = await reading.spans_of(parts.messages, ref, since=_aware(since))
        sides.append([message_view(r) for r in await reading.last_in(parts.messages, spans, limit)])
    return topics_diff((first.topic, second.topic), *sides)


async def _ref(
    parts: Resources, name: str, env: str, caller: TopicReader, permission: Permission = Permission.TOPICS_READ
) -> TopicRef:
    async with parts.sessions() as db:
        return await reading.topic_ref(db, name, env, caller=caller, permission=permission)


def _within(spans: Mapping[Partition, Bounds], limit: int) -> Mapping[Partition, Bounds]:
    """Of each partition no more than is asked for, with some room for marks of transactions."""
    return {p: Bounds(span.begin, min(span.end, span.begin + 4 * limit + 100)) for p, span in spans.items()}


async def _followed(parts: Resources, offsets: Mapping[Partition, int]) -> AsyncIterator[bytes]:
    reached = {number: offset for (_, number), offset in offsets.items()}
    async with aclosing(parts.messages.follow(offsets)) as following:
        async for records in following:
            for record in records:
                reached[record.partition] = record.offset + 1
                shown = message_view(record).model_dump(mode="json")
                yield event("message", shown, id_=format_offsets(reached))


def _aware(moment: datetime | None) -> datetime | None:
    """Raises `Invalid` for an instant without a time zone."""
    if moment is not None and moment.tzinfo is None:
        raise Invalid(f"{moment.isoformat()} has no time zone: end it with Z, or +01:00")
    return moment
