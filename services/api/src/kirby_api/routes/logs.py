"""Run logs: pages, plain download, and live by server-sent events."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse

from kirby_api.access.gate import Parts, Reader
from kirby_api.access.permissions import Caller, Permission
from kirby_api.logs.attempts import RunLog, run_log
from kirby_api.logs.events import event, run_events
from kirby_api.logs.follow import Ended, Follower
from kirby_api.logs.history import AttemptReader, Where, locate
from kirby_api.logs.levels import at_least
from kirby_api.logs.lines import Gap, Line
from kirby_api.logs.pages import Found, LineFilter, last_lines, page_after
from kirby_api.logs.position import parse_after, parse_position
from kirby_api.problems import Invalid
from kirby_api.resources import Resources
from kirby_api.routes.documents import PROBLEMS
from kirby_api.runs.query import find_run, place_of, whole_run

router = APIRouter(tags=["logs"], responses=PROBLEMS)

Level = Annotated[str | None, Query(description="this level and those above it, or several joined by commas")]
Stream = Annotated[Literal["stdout", "stderr", "system"] | None, Query()]
Text = Annotated[str | None, Query(description="text in the line, upper and lower case alike", max_length=1000)]
LastEventId = Annotated[str | None, Header(description="goes on exactly behind this event")]
PING_S = 15
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}, "description": "events"}}


class LogLine(BaseModel):
    """`n` counts from 1 in each grant; `id` is GRANT.N. `open`: no line end has come yet, more may follow."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"n": 1, "t": "2026-11-21T10:00:00.004000Z", "stream": "stdout", "level": "INFO",
                 "text": "INFO starting", "grant": 1, "id": "1.1"}
            ]
        }
    )  # fmt: skip

    n: int
    t: str
    stream: Literal["stdout", "stderr", "system"]
    level: str | None = None
    text: str
    grant: int = 1
    id: str
    cut: int = Field(default=0, description="so many bytes of a very long line are not shown; the download has them")
    open: bool = False


class LogGap(BaseModel):
    """Frames that are missing, or expired with the topic's retention."""

    grant: int
    first_seq: int
    last_seq: int
    reason: str


class LogPage(BaseModel):
    items: list[LogLine]
    next: str | None = Field(description="give it back as `after`; null at the end of what there is now")
    complete: bool = Field(description="whether the run is over and nothing more will come")
    gaps: list[LogGap] = []
    last_n: int = Field(default=0, description="the highest line number of the newest grant that was read")
    expired: bool = False
    detail: str | None = None


@router.get("/runs/{run_id}/logs", response_model=LogPage, summary="The lines of a run")
async def get_run_logs(
    run_id: UUID,
    parts: Parts,
    caller: Reader,
    grant: Annotated[int | None, Query(ge=1, description="only this grant; unset: all attempts, in order")] = None,
    after: Annotated[str | None, Query(description="lines after this one: N, or GRANT.N", max_length=50)] = None,
    cursor: Annotated[str | None, Query(description="the same as after", max_length=50)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    tail: Annotated[int | None, Query(ge=1, le=10_000, description="the last lines instead")] = None,
    stream: Stream = None,
    level: Level = None,
    q: Text = None,
    format: Annotated[Literal["json", "text"], Query(description="text: a plain download")] = "json",
) -> Response | LogPage:
    run = await _log_of(parts, caller, run_id)
    where = await locate(parts.log_store, run)
    if where is None:
        return LogPage(items=[], next=None, complete=run.ended)
    if format == "text":
        return _download(parts, run, where, grant)
    wanted = line_filter(stream, level, q)
    grants = [a.grant for a in run.attempts] if grant is None else [grant]
    if tail is not None:
        page = await last_lines(parts.log_store, run, where, grants=grants, count=tail, wanted=wanted)
    else:
        first, number = parse_after(cursor or after, grant=grant)
        grants = [g for g in grants if first is None or g >= first]
        page = await page_after(parts.log_store, run, where, grants=grants, after=number, limit=limit, wanted=wanted)
    return _form(page, run, parts)


@router.get("/runs/{run_id}/logs/stream", response_class=EventSourceResponse, responses=STREAM, summary="Follow a run")
async def stream_run_logs(
    run_id: UUID,
    parts: Parts,
    caller: Reader,
    grant: Annotated[int | None, Query(ge=1)] = None,
    after: Annotated[str | None, Query(description="begin after this line: N of `grant`, or GRANT.N")] = None,
    stream: Stream = None,
    level: Level = None,
    q: Text = None,
    last_event_id: LastEventId = None,
) -> EventSourceResponse:
    """Events: `line` (an object), `lines` (an array), `gap`, and `end` (the run) as the last one."""
    await _log_of(parts, caller, run_id)
    first, number = parse_after(after, grant=grant)

    async def look() -> RunLog:
        async with parts.sessions() as db:
            return await run_log(db, run_id)

    follower = Follower(
        store=parts.log_store,
        logs=parts.log_hub,
        events=parts.event_hub,
        look=look,
        position=parse_position(last_event_id) if last_event_id else {},
        after=None if first is None and not number else (first or 1, number),
    )
    return EventSourceResponse(_followed(parts, run_id, follower, line_filter(stream, level, q)), ping=PING_S)


async def _followed(parts: Resources, run_id: UUID, follower: Follower, wanted: LineFilter) -> AsyncIterator[bytes]:
    given = dict(follower.position)
    async for batch in follower.batches():
        if isinstance(batch, Ended):
            async with parts.sessions() as db:
                run = await whole_run(db, run_id)
            yield event("end", run.model_dump(mode="json"))
        elif batch:
            for made in run_events(batch, wanted=wanted, given=given):
                yield made


async def _log_of(parts: Resources, caller: Caller, run_id: UUID) -> RunLog:
    async with parts.sessions() as db:
        caller.require(Permission.READ, place_of(await find_run(db, run_id)))
        return await run_log(db, run_id)


def line_filter(stream: str | None, level: str | None, text: str | None) -> LineFilter:
    try:
        if level is None:
            levels = None
        elif "," in level:
            levels = frozenset(part.strip().upper() for part in level.split(","))
        else:
            levels = at_least(level)
    except ValueError as error:
        raise Invalid(str(error)) from error
    return LineFilter(stream=stream, levels=levels, text=text.lower() if text else None)


def _form(page: Found, run: RunLog, parts: Resources) -> LogPage:
    expired = any(gap.reason == "expired" for gap in page.gaps)
    days = parts.settings.kirby_log_retention
    return LogPage(
        items=[LogLine(**line.form()) for line in page.lines],
        next=None if page.next_after is None else f"{page.next_after[0]}.{page.next_after[1]}",
        complete=run.ended and page.next_after is None and not page.behind,
        gaps=[LogGap(**gap.form()) for gap in page.gaps],
        last_n=page.highest,
        expired=expired,
        detail=f"the log has expired: logs are kept for {days.days} days" if expired else None,
    )


def _download(parts: Resources, run: RunLog, where: Where, grant: int | None) -> StreamingResponse:
    name = f"{run.run_id}.log"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_text(parts, run, where, grant), media_type="text/plain; charset=utf-8", headers=headers)


async def _text(parts: Resources, run: RunLog, where: Where, grant: int | None) -> AsyncIterator[bytes]:
    """The lines as the script wrote them, attempt by attempt; a gap says so."""
    for attempt in run.attempts:
        if grant is not None and attempt.grant != grant:
            continue
        reader = AttemptReader(parts.log_store, run, attempt, where, max_line=1 << 30)
        async for batch in reader.batches():
            yield b"".join(_plain(item) for item in batch)
        yield b"".join(_plain(line) for line in reader.assembler.unfinished())


def _plain(item: Line | Gap) -> bytes:
    if isinstance(item, Line):
        return item.data + b"\n"
    return f"--- a part of the log is {item.reason} (frames {item.first_seq} to {item.last_seq}) ---\n".encode()
