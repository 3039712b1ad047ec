"""Lineage: a message's journey, and the graph of jobs and what they read and write."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from kirby_common.ledger.tables import RecorderOffset
from kirby_common.topics import LINEAGE, registry
from sqlalchemy import select

from kirby_api import asyncapi
from kirby_api.access.gate import Operator, Parts, Reader
from kirby_api.access.permissions import Permission
from kirby_api.lineage import graph as graphs
from kirby_api.lineage.graph import Graph
from kirby_api.lineage.journey import Traveller
from kirby_api.lineage.openlineage import OpenLineageEvent, edges_of
from kirby_api.lineage.projection import Edge
from kirby_api.lineage.query import sight
from kirby_api.lineage.recorder import add_edges
from kirby_api.lineage.view import Journey
from kirby_api.messages import reading
from kirby_api.problems import Invalid, NotFound
from kirby_api.resources import Resources
from kirby_api.routes.documents import PROBLEMS
from kirby_api.runs.wait import wait_for

_RECORDED_S = 3.0

router = APIRouter(tags=["lineage"], responses=PROBLEMS)


@router.get("/lineage/journey", summary="Where a message comes from, and what it touched")
async def get_journey(
    topic: Annotated[str, Query(description="the topic, without the environment's prefix")],
    message: Annotated[str, Query(description="PARTITION:OFFSET")],
    parts: Parts,
    caller: Reader,
    env: Annotated[str, Query(description="the environment")] = "prod",
    forward: Annotated[bool, Query(description="also what it touched")] = True,
) -> Journey:
    """Back by the message's own header, forward by what processes have told of themselves in the last 30 days. What
    the caller may not read is left out, or `hidden`.
    """
    partition, offset = _place(message)
    await _recorded(parts)
    async with parts.sessions() as db:
        ref = await reading.topic_ref(db, topic, env, caller=caller, permission=Permission.READ)
        seen = await sight(db, caller)
    record = await reading.one_record(parts.messages, ref, partition, offset)
    return await Traveller(parts.sessions, parts.messages, seen).journey(ref, record, forward=forward)


@router.get("/lineage/graph", summary="Jobs and what they read and write, with rates, lag and when they were last seen")
async def get_lineage_graph(
    parts: Parts,
    caller: Reader,
    env: Annotated[str | None, Query(description="only what jobs of this environment touch")] = None,
    topic: Annotated[str | None, Query(description="only what leads to this topic and from it")] = None,
    job: Annotated[str | None, Query(description="only what leads to this job and from it")] = None,
) -> Graph:
    await _recorded(parts)
    async with parts.sessions() as db:
        seen = await sight(db, caller)
        found = await graphs.load(db, seen, now=datetime.now(UTC))
    if topic is not None:
        return _around(found, f"topic:{seen.prefixes.get(env or 'prod', '')}{topic}", f"topic {topic}")
    if job is not None:
        return _around(found, f"job:{env or 'prod'}/{job}", f"job {job} in {env or 'prod'}")
    return found if env is None else graphs.of_environment(found, env)


@router.post("/lineage", status_code=201, summary="Take an OpenLineage event of somebody else's job")
async def take_openlineage_event(event: OpenLineageEvent, parts: Parts, caller: Operator) -> None:
    """Its job, inputs and outputs are shown in the graph; the same event again adds nothing but a count. This is the
    address that OpenLineage's own clients post to.
    """
    caller.require(Permission.OPERATE)
    edge = Edge()
    at = event.event_time if event.event_time.tzinfo else event.event_time.replace(tzinfo=UTC)
    edge.seen(min(at, datetime.now(UTC)), count=1)
    edges = dict.fromkeys(edges_of(event, servers=parts.settings.kafka_bootstrap_servers), edge)
    async with parts.sessions.begin() as db:
        if edges:
            await add_edges(await db.connection(), edges, told_by=event.producer)


@router.get("/asyncapi.json", summary="The AsyncAPI 3 document of every registered topic")
async def get_asyncapi_document(parts: Parts, caller: Reader) -> dict[str, Any]:
    """Kirby's own topics, and those that are registered, in each environment where the caller may read."""
    own = registry(
        offers_prefix=parts.settings.kirby_topic_job_offers, log_retention=parts.settings.kirby_log_retention
    )
    async with parts.sessions() as db:
        infos, there = await reading.list_topics(db, parts.messages, caller=caller, env=None)
        graph = await graphs.load(db, await sight(db, caller), now=datetime.now(UTC))
    topics = reading.filled([t for t in infos if t.registered], await parts.messages.bounds(there), {})
    return asyncapi.document(own, topics, graph, version=parts.version)


async def _recorded(parts: Resources) -> None:
    """Waits a little for the recorder, when it is behind, so that who asks right after a run is told of it."""
    ends = await parts.messages.bounds([LINEAGE])

    async def look() -> bool:
        async with parts.sessions() as db:
            rows = await db.execute(
                select(RecorderOffset.partition, RecorderOffset.next_offset).where(RecorderOffset.topic == LINEAGE)
            )
            reached = {row.partition: row.next_offset for row in rows}
        return all(span.begin == span.end or reached.get(n, 0) >= span.end for (_, n), span in ends.items())

    await wait_for(look, done=bool, seconds=_RECORDED_S)


def _around(found: Graph, node: str, told: str) -> Graph:
    if all(n.id != node for n in found.nodes):
        raise NotFound(f"nothing is known yet of the {told}: no script of Kirby has read or written it")
    return graphs.around(found, node)


def _place(text: str) -> tuple[int, int]:
    """Raises `Invalid`."""
    partition, colon, offset = text.partition(":")
    if not colon or not partition.isdecimal() or not offset.isdecimal() or len(text) > 30:
        raise Invalid(f"message: '{text}' is no place of a message: write PARTITION:OFFSET, for example 0:17")
    return int(partition), int(offset)
