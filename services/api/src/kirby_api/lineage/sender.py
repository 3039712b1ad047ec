"""Sends OpenLineage events: reads what runs become and what processes tell, and tells another server, or a file.

At least once: the offset moves when the events are taken. One of the suite works at a time, the others stand by.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import httpx2
import orjson
import structlog
from kirby_common.ledger.tables import LineageProcess, RecorderOffset
from kirby_common.messages import BadMessage, RunChangedV1, decode
from kirby_common.ports import Record, Start, Tail
from kirby_common.topics import LINEAGE, RUN_EVENTS
from sqlalchemy import Table, select
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.ext.asyncio import AsyncEngine

from kirby_api.lineage.openlineage import Event, Namer
from kirby_api.lineage.told import Announced, Joined, ProcessTouched, Unreadable, by_partition, read_told
from kirby_api.runs.wait import wait_for
from kirby_api.standing_by import StillOurs, standing_by

log = structlog.get_logger()
_offsets: Table = RecorderOffset.__table__  # type: ignore[assignment]
_processes: Table = LineageProcess.__table__  # type: ignore[assignment]
_LOCK = 0x6F6C696E  # "olin": any number that no other lock of ours has
_TOPICS = (LINEAGE, RUN_EVENTS)
_MARK = "openlineage "
"""Before the topics' names in the table of offsets, where other readers of them have their own."""


class NotTaken(ConnectionError):
    """The target can't take events now; trying again may help."""


class Target(Protocol):
    """Where events go."""

    async def take(self, events: Sequence[Event]) -> None:
        """Returns once they are taken. Raises `NotTaken`."""
        ...


class FileTarget:
    """Appends a line of JSON an event."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def take(self, events: Sequence[Event]) -> None:
        await asyncio.to_thread(self._append, b"".join(orjson.dumps(event) + b"\n" for event in events))

    def _append(self, lines: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(lines)
        except OSError as error:
            raise NotTaken(f"{self._path}: {error.strerror}") from error


class HttpTarget:
    """Posts each event. What the server refuses for good is told in the log and left out."""

    def __init__(self, http: httpx2.AsyncClient, url: str, *, token: str | None) -> None:
        self._http = http
        self._url = url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def take(self, events: Sequence[Event]) -> None:
        for event in events:
            try:
                answer = await self._http.post(self._url, json=event, headers=self._headers)
            except httpx2.HTTPError as error:
                raise NotTaken(f"{self._url}: {error or type(error).__name__}") from error
            if answer.status_code >= 500 or answer.status_code in (401, 403, 404, 408, 429):
                raise NotTaken(f"{self._url} answered {answer.status_code}")
            if answer.status_code >= 400:
                log.warning("openlineage.refused", url=self._url, status=answer.status_code, why=answer.text[:200])


def target_of(address: str, *, http: httpx2.AsyncClient, token: str | None) -> Target:
    """Of `file:///…`, or `http(s)://…`, which the settings have checked."""
    parts = urlsplit(address)
    return FileTarget(Path(unquote(parts.path))) if parts.scheme == "file" else HttpTarget(http, address, token=token)


class OpenLineageSender:
    def __init__(
        self, engine: AsyncEngine, tail: Tail, target: Target, namer: Namer, *, patience_s: float = 10.0
    ) -> None:
        self._engine = engine
        self._tail = tail
        self._target = target
        self._namer = namer
        self._patience_s = patience_s

    async def run(self) -> None:
        """For ever; begins with what Kafka still has."""
        await standing_by(self._engine, self._send, lock=_LOCK, waiting="openlineage.waiting")

    async def _send(self, still_ours: StillOurs) -> None:
        async with self._engine.connect() as tx:
            marked = [_MARK + topic for topic in _TOPICS]
            rows = await tx.execute(select(_offsets).where(_offsets.c.topic.in_(marked)))
            offsets = {(r.topic.removeprefix(_MARK), r.partition): r.next_offset for r in rows}
        async for records in self._tail.records(_TOPICS, start=Start(at="beginning", offsets=offsets)):
            await still_ours()
            for some in by_partition(records):
                # An error of the target ends this; it begins again after a while, where it was.
                await self._target.take(await self._events(some))
                await self._move(some[-1])

    async def _events(self, records: Sequence[Record]) -> list[Event]:
        if records[0].topic == RUN_EVENTS:
            return [event for record in records for event in self._of_run(record)]
        told: list[Announced | Joined | ProcessTouched] = []
        for record in records:
            try:
                told.append(read_told(record))
            except Unreadable:
                continue
        here = {bytes.fromhex(m.process) for m in told if isinstance(m, Announced)}
        before = {bytes.fromhex(m.process) for m in told if isinstance(m, ProcessTouched)} - here
        return list(self._namer.of_told(told, await self._known(before)))

    def _of_run(self, record: Record) -> list[Event]:
        try:
            message = decode(record.value)
        except BadMessage:
            return []
        return self._namer.of_run(message.data) if isinstance(message, RunChangedV1) else []

    async def _known(self, processes: set[bytes]) -> dict[bytes, Any]:
        """Waits a little for the recorder, which may not have come to them yet."""

        async def look() -> dict[bytes, Any]:
            async with self._engine.connect() as tx:
                rows = await tx.execute(select(_processes).where(_processes.c.process.in_(processes)))
                return {row.process: row for row in rows}

        return await wait_for(look, done=lambda found: len(found) == len(processes), seconds=self._patience_s)

    async def _move(self, last: Record) -> None:
        row = {"topic": _MARK + last.topic, "partition": last.partition, "next_offset": last.offset + 1}
        moved = pg_insert(_offsets).values(**row)
        moved = moved.on_conflict_do_update(
            index_elements=["topic", "partition"], set_={"next_offset": last.offset + 1}
        )
        async with self._engine.begin() as tx:
            await tx.execute(moved)
