"""Live streams of the whole suite: every run's lines, and what runs become."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from kirby_common.ledger.tables import Run
from kirby_common.messages import BadMessage, RunChanged, RunChangedV1, decode
from kirby_common.ports import Record
from sqlalchemy import select
from sse_starlette import EventSourceResponse

from kirby_api.access.gate import Parts, Reader
from kirby_api.access.permissions import Permission, Place
from kirby_api.logs.events import MAX_LINES, event, lines_event
from kirby_api.logs.everything import Everything, Named, Whose, recent_offsets, replayed
from kirby_api.logs.pages import LineFilter
from kirby_api.logs.position import Offsets, format_offsets, parse_offsets
from kirby_api.resources import Resources
from kirby_api.routes.documents import PROBLEMS
from kirby_api.routes.logs import PING_S, STREAM, LastEventId, Level, Text, line_filter

router = APIRouter(tags=["live"], responses=PROBLEMS)


@router.get("/logs/stream", response_class=EventSourceResponse, responses=STREAM, summary="Follow every run's lines")
async def stream_logs(
    parts: Parts,
    caller: Reader,
    job: str | None = None,
    env: str | None = None,
    namespace: str | None = None,
    level: Level = None,
    q: Text = None,
    backlog: Annotated[int, Query(ge=0, le=2000, description="so many of the last lines first")] = 0,
    last_event_id: LastEventId = None,
) -> EventSourceResponse:
    """Events: `line` and `lines`, as of one run, with run_id, job and env."""

    def wanted(whose: Whose) -> bool:
        asked = (job in (None, whose.job)) and (env in (None, whose.env)) and (namespace in (None, whose.namespace))
        return asked and caller.may(Permission.READ, Place(env=whose.env, namespace=whose.namespace))

    async def whose_of(runs: Sequence[UUID]) -> dict[UUID, Whose]:
        async with parts.sessions() as db:
            rows = await db.execute(select(Run.id, Run.job, Run.env, Run.namespace).where(Run.id.in_(runs)))
            return {r.id: Whose(r.job, r.env, r.namespace) for r in rows}

    offsets = parse_offsets(last_event_id) if last_event_id else None
    made = _every_line(parts, Everything(whose_of, wanted), line_filter(None, level, q), offsets, backlog)
    return EventSourceResponse(made, ping=PING_S)


@router.get("/runs/stream", response_class=EventSourceResponse, responses=STREAM, summary="Follow what runs become")
async def stream_runs(
    parts: Parts,
    caller: Reader,
    job: str | None = None,
    env: str | None = None,
    last_event_id: LastEventId = None,
) -> EventSourceResponse:
    """Events: `run`, the data of a RunChanged message. Ignore one with a `rev` lower than you know."""

    def wanted(run: RunChanged) -> bool:
        asked = job in (None, run.job) and env in (None, run.env)
        return asked and caller.may(Permission.READ, Place(env=run.env, namespace=run.namespace))

    async def events() -> AsyncIterator[bytes]:
        offsets = parse_offsets(last_event_id) if last_event_id else {}
        async for records in replayed(parts.event_hub, parts.log_store, offsets=offsets, wake=asyncio.Event()):
            for record in records or ():
                offsets[record.partition] = record.offset + 1
                run = _changed(record)
                if run is not None and wanted(run):
                    whole = dict(parts.event_hub.positions) | offsets
                    yield event("run", run.model_dump(mode="json"), id_=format_offsets(whole))

    return EventSourceResponse(events(), ping=PING_S)


def _changed(record: Record) -> RunChanged | None:
    try:
        message = decode(record.value)
    except BadMessage:
        return None
    return message.data if isinstance(message, RunChangedV1) else None


async def _every_line(
    parts: Resources, everything: Everything, wanted: LineFilter, offsets: Offsets | None, backlog: int
) -> AsyncIterator[bytes]:
    hub, store = parts.log_hub, parts.log_store
    await hub.ready()
    given: Offsets = dict(offsets or hub.positions)
    if offsets is None and backlog:
        start = await recent_offsets(hub, records=backlog)
        end = dict(given)
        recent: list[Named] = []
        for partition, until in end.items():
            async for records in store.read(hub.topic, partition, start=start[partition], end=until):
                recent += [named for named in await everything.lines(records) if wanted.passes(named[2])]
        recent.sort(key=lambda named: named[2].t_ns)
        for made in _batches(recent[-backlog:], given):
            yield made
    async for batch in replayed(hub, store, offsets=given, wake=asyncio.Event()):
        for record in batch or ():
            given[record.partition] = record.offset + 1
        lines = await everything.lines(batch or ())
        for made in _batches([named for named in lines if wanted.passes(named[2])], given):
            yield made


def _batches(lines: Sequence[Named], given: Offsets) -> list[bytes]:
    """Events of some lines each; only the last carries the position, behind all of them."""
    made = []
    for at in range(0, len(lines), MAX_LINES):
        forms = [_form(named) for named in lines[at : at + MAX_LINES]]
        last = at + MAX_LINES >= len(lines)
        made.append(lines_event(forms, id_=format_offsets(given) if last else None))
    return made


def _form(named: Named) -> dict[str, Any]:
    run_id, whose, line = named
    return {**line.form(), "run_id": str(run_id), "job": whose.job, "env": whose.env}
