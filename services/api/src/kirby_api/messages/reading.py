"""Looking at topics: which there are, their newest messages, who reads them, what differs between two."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from kirby_common.ledger.tables import Environment, Topic
from kirby_common.ports import Record
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller, Permission, Place
from kirby_api.logs.ports import Bounds
from kirby_api.messages.ports import Messages, Partition
from kirby_api.messages.view import GroupLag, PartitionLag, TopicInfo
from kirby_api.problems import Conflict, Invalid, NotFound

OWN = ".kirby."
"""What the names of Kirby's own topics begin with, after the environment's prefix."""


@dataclass(frozen=True)
class TopicRef:
    """A topic of an environment; `topic` is its name in Kafka."""

    name: str
    env: str
    topic: str


async def environments(db: AsyncSession) -> dict[str, str]:
    """The prefix of each environment whose topics lie in the suite's Kafka. `prod` is there before anybody made it."""
    rows = await db.execute(select(Environment.name, Environment.topic_prefix, Environment.kafka_bootstrap_servers))
    known = {row.name: row for row in rows}
    prefixes = {name: row.topic_prefix for name, row in known.items() if row.kafka_bootstrap_servers is None}
    return prefixes if "prod" in known else {"prod": "", **prefixes}


async def topic_ref(db: AsyncSession, name: str, env: str, *, caller: Caller, permission: Permission) -> TopicRef:
    """Raises `Forbidden`, `NotFound`, `Conflict` for an environment with a Kafka of its own, and `Invalid`."""
    caller.require(permission, Place(env))
    prefixes = await environments(db)
    if env not in prefixes:
        if (await db.scalars(select(Environment.id).where(Environment.name == env))).first() is not None:
            raise Conflict(f"{env} has a Kafka cluster of its own, which the api does not read: ask there")
        raise NotFound(f"there is no environment '{env}'")
    ref = TopicRef(name, env, prefixes[env] + name)
    if name.startswith(OWN):
        raise Invalid(f"{name} is one of Kirby's own topics, whose messages are shown nowhere")
    owner = env_of(ref.topic, prefixes)
    if owner != env:
        raise Invalid(f"the topic {ref.topic} belongs to {owner}: ask for it there")
    return ref


def env_of(topic: str, prefixes: Mapping[str, str]) -> str | None:
    """The environment that a topic belongs to: the one with the longest prefix that its name begins with.

    >>> env_of("test.weather.raw", {"prod": "", "test": "test."})
    'test'
    """
    mine = [(len(prefix), env) for env, prefix in prefixes.items() if topic.startswith(prefix)]
    return max(mine)[1] if mine else None


async def list_topics(
    db: AsyncSession, messages: Messages, *, caller: Caller, env: str | None
) -> tuple[list[TopicInfo], Sequence[str]]:
    """Topics where the caller may read, by environment and name; and the names in Kafka of those that are there."""
    prefixes = await environments(db)
    registered = {row.name: row for row in await db.scalars(select(Topic))}
    there = [
        _info(topic, owner, prefixes[owner], registered)
        for topic in await messages.topics()
        if (owner := env_of(topic, prefixes)) is not None and not topic[len(prefixes[owner]) :].startswith((OWN, "__"))
    ]
    shown = [t for t in there if env in (None, t.env) and caller.may(Permission.READ, Place(t.env))]
    absent = sorted(registered.keys() - {t.name for t in there})
    missing = [_info(name, None, "", registered) for name in absent if env is None]
    return sorted(shown, key=lambda t: (t.env or "", t.name)) + missing, [t.topic for t in shown]


def _info(topic: str, env: str | None, prefix: str, registered: Mapping[str, Topic]) -> TopicInfo:
    name = topic[len(prefix) :]
    row = registered.get(name)
    if row is None:
        return TopicInfo(name=name, env=env, topic=topic)
    fresh = None if row.fresh_within_ms is None else timedelta(milliseconds=row.fresh_within_ms)
    return TopicInfo(
        name=name, env=env, topic=topic, registered=True, description=row.description, fresh_within=fresh, id=row.id
    )


def filled(
    infos: Sequence[TopicInfo], bounds: Mapping[Partition, Bounds], newest: Mapping[str, datetime | None]
) -> list[TopicInfo]:
    """With what Kafka knows of them."""
    held: dict[str, list[Bounds]] = {}
    for (topic, _), span in bounds.items():
        held.setdefault(topic, []).append(span)
    return [
        info.model_copy(
            update={
                "partitions": len(held[info.topic]),
                "messages": sum(span.end - span.begin for span in held[info.topic]),
                "newest": newest.get(info.topic),
            }
        )
        if info.topic in held
        else info
        for info in infos
    ]


async def spans_of(
    messages: Messages, ref: TopicRef, *, partition: int | None = None, since: datetime | None = None
) -> Mapping[Partition, Bounds]:
    """What the topic holds, of all partitions or one, from an instant on. Raises `NotFound`."""
    bounds = await messages.bounds([ref.topic])
    if not bounds:
        raise NotFound(f"there is no topic {ref.name} in {ref.env}: `kirby topics list` names them")
    if partition is not None:
        if (ref.topic, partition) not in bounds:
            raise NotFound(f"the topic {ref.name} has no partition {partition}: it has {len(bounds)}, from 0")
        bounds = {(ref.topic, partition): bounds[ref.topic, partition]}
    if since is None:
        return bounds
    at = await messages.offsets_at(dict.fromkeys(bounds, round(since.timestamp() * 1000)))
    return {p: Bounds(max(span.begin, at.get(p, span.end)), span.end) for p, span in bounds.items()}


async def first_in(messages: Messages, spans: Mapping[Partition, Bounds], count: int) -> list[Record]:
    """The first `count` records of the spans, oldest first."""
    found: list[Record] = []
    async with aclosing(messages.read(spans)) as reading:
        async for records in reading:
            found += records
            if len(found) >= count and len(spans) == 1:
                break
    return sorted(found, key=_age)[:count]


async def last_in(messages: Messages, spans: Mapping[Partition, Bounds], count: int) -> list[Record]:
    """The last `count` records of the spans, oldest first.

    Marks of transactions take offsets and are no records: where there are too few, it looks further back.
    """
    back = count
    while True:
        tails = {p: Bounds(max(span.begin, span.end - back), span.end) for p, span in spans.items()}
        found = [record async for records in messages.read(tails) for record in records]
        if len(found) >= count or all(tails[p] == spans[p] for p in spans):
            return sorted(found, key=_age)[-count:]
        back *= 4


async def one_record(messages: Messages, ref: TopicRef, partition: int, offset: int) -> Record:
    """Raises `NotFound`, which says whether it has expired, or is not there yet."""
    spans = await spans_of(messages, ref, partition=partition)
    span = spans[ref.topic, partition]
    where = f"{ref.name} {partition}:{offset}"
    if offset < span.begin:
        raise NotFound(f"the message {where} is not kept any more: the oldest of its partition is {span.begin}")
    if offset >= span.end:
        raise NotFound(f"there is no message {where} yet: its partition ends before {span.end}")
    found = await first_in(messages, {(ref.topic, partition): Bounds(offset, offset + 1)}, 1)
    if not found:
        raise NotFound(f"there is no message {where}: the offset is the mark of a transaction, or was compacted away")
    return found[0]


def lags(readers: Mapping[str, Mapping[int, int]], bounds: Mapping[Partition, Bounds], *, topic: str) -> list[GroupLag]:
    """The groups by name. Pure."""
    ends = {number: span for (name, number), span in bounds.items() if name == topic}
    found = []
    for group, positions in sorted(readers.items()):
        rows = [
            PartitionLag(partition=n, position=at, end=span.end, lag=max(0, span.end - max(at, span.begin)))
            for n, span in sorted(ends.items())
            for at in [positions.get(n, span.begin)]
        ]
        found.append(GroupLag(group=group, lag=sum(row.lag for row in rows), partitions=rows))
    return found


def _age(record: Record) -> tuple[int, int, int]:
    return record.timestamp_ms, record.partition, record.offset
