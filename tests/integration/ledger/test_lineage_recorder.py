"""Lineage is projected from what processes tell, once, whatever breaks meanwhile; and told on as OpenLineage events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import orjson
import pytest
from kirby_api.lineage.openlineage import Namer
from kirby_api.lineage.recorder import LineageRecorder
from kirby_api.lineage.sender import FileTarget, HttpTarget, OpenLineageSender, Target, target_of
from kirby_common.ledger import triggers
from kirby_common.messages import RunChanged, RunChangedV1, encode
from kirby_common.testing.bus import MemoryBus
from kirby_common.topics import LINEAGE, RUN_EVENTS, registry
from starlette.responses import Response

from tests.eventually import eventually
from tests.integration.ledger.world import World
from tests.webhook_receiver import Got, receiving

PROCESS = b"process1".hex()
RUN = str(uuid4())
KEEP = timedelta(days=30)
NAMER = Namer(servers="broker:9092", version="1.0")


@pytest.fixture
async def bus() -> MemoryBus:
    made = MemoryBus()
    await made.ensure(registry())
    return made


async def tell(bus: MemoryBus, kind: str, **fields: Any) -> None:
    await bus.send(LINEAGE, key=PROCESS.encode(), value=orjson.dumps({"type": kind, "process": PROCESS} | fields))


async def announce(bus: MemoryBus, **more: str) -> None:
    fields = {"job": "daily", "env": "prod", "version": "1.2", "reads": "raw", "run_id": RUN} | more
    await tell(bus, "process.announced.v1", at=datetime.now(UTC).isoformat(), **fields)


async def touch(bus: MemoryBus, *, first: int, count: int, at: datetime | None = None) -> None:
    ms = round((at or datetime.now(UTC)).timestamp() * 1000)
    touched = {
        "direction": "out", "kind": "topic", "name": "out", "partition": 0, "from": first, "to": first + count,
        "count": count, "since_ms": ms, "until_ms": ms,
    }  # fmt: skip
    await tell(bus, "process.touched.v1", touched=[touched])


@asynccontextmanager
async def running(*loops: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(loop.run()) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def recorder(world: World, bus: MemoryBus) -> LineageRecorder:
    return LineageRecorder(world.engine, bus, holder=uuid4(), keep=KEEP, keep_processes=KEEP)


async def spans(world: World) -> list[tuple[int, int, int]]:
    rows = await world.sql("SELECT from_offset, to_offset, count FROM lineage_spans ORDER BY id")
    return [tuple(row) for row in rows]


async def edges(world: World) -> dict[tuple[str, str], int]:
    rows = await world.sql("SELECT direction, name, count FROM lineage_edges")
    return {(row[0], row[1]): row[2] for row in rows}


async def test_what_is_told_is_recorded_once_by_whoever_is_there(world: World, bus: MemoryBus) -> None:
    await announce(bus)
    await touch(bus, first=0, count=3)
    async with running(recorder(world, bus), recorder(world, bus)):
        await eventually(lambda: spans(world), what="the first span")
        await touch(bus, first=3, count=4)
        await bus.send(LINEAGE, key=b"k", value=b"no message of ours")
        await eventually(lambda: _is(spans(world), [(0, 7, 7)]), what="the longer span")
    async with running(recorder(world, bus)):
        await touch(bus, first=7, count=1, at=datetime.now(UTC) + timedelta(hours=1))
        await eventually(lambda: _is(spans(world), [(0, 7, 7), (7, 8, 1)]), what="another span, for it is much later")
    assert await edges(world) == {("in", "raw"): 0, ("out", "out"): 8}


async def _is(value: Any, wanted: Any) -> bool:
    return bool(await value == wanted)


async def test_a_recorder_that_fails_before_its_commit_records_all_of_it_once(world: World, bus: MemoryBus) -> None:
    from tests.integration.ledger.test_failpoints import armed

    await announce(bus)
    await touch(bus, first=0, count=3)
    with armed("lineage.before_commit:error"):
        async with running(recorder(world, bus)):
            await eventually(lambda: spans(world), what="the span")
    assert (await spans(world), (await edges(world))["out", "out"]) == ([(0, 3, 3)], 3)


async def test_what_is_old_goes(world: World, bus: MemoryBus) -> None:
    long_ago = datetime.now(UTC) - KEEP - timedelta(hours=1)
    await announce(bus)
    await touch(bus, first=0, count=3, at=long_ago)
    await touch(bus, first=3, count=3)
    async with running(recorder(world, bus)):
        await eventually(lambda: _is(spans(world), [(3, 6, 3)]), what="only the newer span")


async def test_a_process_is_forgotten_when_nothing_names_it_any_more_and_its_run_is_over(
    world: World, bus: MemoryBus
) -> None:
    context = await world.context()
    async with world.engine.begin() as tx:
        live = (await triggers.trigger(tx, context_id=context, principal="ann", key="k")).run_id
    await world.sql("UPDATE runs SET status = 'RUNNING'")
    await world.sql(
        "INSERT INTO lineage_joins (trace, topic, partition, from_offset, to_offset, process, at_ms)"
        " VALUES ('trace', 'raw', 0, 0, 1, 'met', :now)",
        now=round(datetime.now(UTC).timestamp() * 1000),
    )
    for process, age, run in (
        ("gone", KEEP + timedelta(hours=1), ""), ("young", timedelta(0), ""), ("met", KEEP * 2, ""),
        ("running", KEEP * 2, str(live)), ("process1", KEEP * 2, ""),
    ):  # fmt: skip
        await world.sql(
            "INSERT INTO lineage_processes (process, reads, job, env, package, version, run_id, attempt, slot, host,"
            " pid, program, rerun, at) VALUES (CAST(:process AS bytea), 'raw', 'j', 'prod', '', '1', :run, 1, '', 'h',"
            " 1, 'p', false, :at)",
            process=process.encode(), run=run, at=datetime.now(UTC) - age,
        )  # fmt: skip
    await touch(bus, first=0, count=1)

    async def known() -> set[str]:
        return {bytes(row.process).decode() for row in await world.sql("SELECT process FROM lineage_processes")}

    async with running(recorder(world, bus)):
        await eventually(lambda: _is(known(), {"young", "met", "running", "process1"}), what="the prune")


async def test_runs_and_what_they_touched_are_told_as_openlineage_events(
    world: World, bus: MemoryBus, tmp_path: Path
) -> None:
    await announce(bus)
    await touch(bus, first=0, count=3)
    for number, status in enumerate(("PENDING", "RUNNING", "SUCCEEDED")):
        run = RunChanged(
            run_id=RUN, rev=number, status=status, previous=None, kind="scheduled", job="daily", env="prod",
            namespace="default", context_id=None, package_version="1.2", started_at=datetime.now(UTC),
        )  # fmt: skip
        await bus.send(RUN_EVENTS, key=RUN.encode(), value=encode(RunChangedV1(source="test", data=run)))
    file = tmp_path / "events.ndjson"
    sender = OpenLineageSender(world.engine, bus, FileTarget(file), NAMER)

    def told() -> list[Any]:
        found = [json.loads(line) for line in file.read_text().splitlines()]
        return found if len(found) == 3 else []

    async with running(recorder(world, bus), sender):
        events = await eventually(told, what="three events")
    assert {e["eventType"] for e in events} == {"START", "RUNNING", "COMPLETE"}
    assert {(e["run"]["runId"], e["job"]["namespace"], e["job"]["name"]) for e in events} == {(RUN, "prod", "daily")}
    (touched,) = [e for e in events if e["eventType"] == "RUNNING"]
    assert touched["inputs"] == [{"namespace": "kafka://broker:9092", "name": "raw"}]
    assert touched["outputs"] == [{"namespace": "kafka://broker:9092", "name": "out"}]
    assert touched["job"]["facets"]["kirby"]["version"] == "1.2"


async def test_events_wait_for_a_server_that_is_away_and_are_not_sent_again(world: World, bus: MemoryBus) -> None:
    await announce(bus, run_id="")
    answers = iter([Response(status_code=503), Response(status_code=201)])

    async def answer(_: Got) -> Response:
        return next(answers)

    async with receiving() as server, httpx2.AsyncClient() as http:
        server.answer = answer
        target = HttpTarget(http, server.url, token="t")
        async with running(recorder(world, bus), OpenLineageSender(world.engine, bus, target, NAMER)):
            await eventually(lambda: len(server.got) == 2, what="the second try")
            server.answer = server.accept
            await touch(bus, first=0, count=1)
            await eventually(lambda: len(server.got) == 3, what="the next event")
        kinds = [got.json["eventType"] for got in server.got]
        assert kinds == ["START", "START", "RUNNING"]
        assert len({got.json["run"]["runId"] for got in server.got}) == 1
        assert server.got[0].headers["authorization"] == "Bearer t"


async def test_the_setting_says_where_events_go(tmp_path: Path) -> None:
    async with httpx2.AsyncClient() as http:
        targets: list[Target] = [target_of(a, http=http, token=None) for a in ("file:///tmp/a%20b", "https://x/y")]
    assert [type(t) for t in targets] == [FileTarget, HttpTarget]
