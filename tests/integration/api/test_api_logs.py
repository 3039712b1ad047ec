"""Logs on real Kafka: pages by line number, search, tail, download; live streams that resume exactly."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx2
import pytest
from kirby_common.kafka import KafkaBus
from kirby_common.logchunks import STDERR, STDOUT, Frame
from kirby_common.settings import KafkaSettings

from tests.eventually import eventually
from tests.integration.api.conftest import Served
from tests.integration.api.recorded_runs import Script, add_attempt, end_run, recorded, recording, started_run


@pytest.fixture
async def bus(kafka_settings: KafkaSettings) -> AsyncIterator[KafkaBus]:
    async with KafkaBus(kafka_settings) as bus:
        yield bus


@pytest.fixture
async def script(live: Served, bus: KafkaBus) -> Script:
    return Script(bus, await started_run(live.parts))


async def page(live: Served, run_id: UUID, **params: Any) -> dict[str, Any]:
    answer = await live.admin.get(f"/runs/{run_id}/logs", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def texts(items: list[dict[str, Any]]) -> list[str]:
    return [item["text"] for item in items]


class Stream:
    """A client of server-sent events."""

    def __init__(self, response: httpx2.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id: str | None = None

    async def event(self) -> tuple[str, Any]:
        name, data = "", None
        async for line in self._lines:
            if line.startswith("id: "):
                self.last_id = line[4:]
            elif line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data = json.loads(line[6:])
            elif not line and name:
                return name, data
        raise EOFError

    async def lines(self, count: int) -> list[dict[str, Any]]:
        """At least so many lines; fails on anything else."""
        got: list[dict[str, Any]] = []
        async with asyncio.timeout(60):
            while len(got) < count:
                name, data = await self.event()
                assert name in ("line", "lines"), (name, data)
                got += data if isinstance(data, list) else [data]
        return got


@asynccontextmanager
async def following(live: Served, path: str, *, last_id: str | None = None, **params: Any) -> AsyncIterator[Stream]:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with live.admin.stream("GET", path, params=params, headers=headers) as response:
        assert response.status_code == 200
        yield Stream(response)


@pytest.mark.parametrize("with_recorder", [True, False])
async def test_pages_by_line_number(live: Served, script: Script, with_recorder: bool) -> None:
    async def write() -> None:
        for start in range(0, 3000, 100):
            await script.prints(b"".join(b"line %d\n" % n for n in range(start + 1, start + 101)))
        await script.ends()

    if with_recorder:
        async with recording(live.parts):
            await write()
            await recorded(live.parts, script)
    else:
        await write()
    await end_run(live.parts, script)

    first = await page(live, script.run_id, limit=1000)
    assert texts(first["items"]) == [f"line {n}" for n in range(1, 1001)]
    assert first["next"] == "1.1000"
    assert not first["complete"]
    last = await page(live, script.run_id, after="1.2990")
    assert texts(last["items"]) == [f"line {n}" for n in range(2991, 3001)]
    assert (last["next"], last["complete"], last["last_n"]) == (None, True, 3000)
    middle = await page(live, script.run_id, grant=1, after=1500, limit=2)
    assert [item["n"] for item in middle["items"]] == [1501, 1502]
    assert texts((await page(live, script.run_id, tail=3))["items"]) == ["line 2998", "line 2999", "line 3000"]
    found = await page(live, script.run_id, q="LINE 299")
    assert texts(found["items"]) == ["line 299", *(f"line {n}" for n in range(2990, 3000))]
    text = await live.admin.get(f"/runs/{script.run_id}/logs", params={"format": "text"})
    assert text.text == "".join(f"line {n}\n" for n in range(1, 3001))


async def test_streams_levels_attempts_and_open_lines(live: Served, script: Script) -> None:
    await script.prints(b"INFO one\n", b"half")
    await script.prints(b"ERROR two\n", stream=STDERR)
    now = await page(live, script.run_id)
    assert [(i["text"], i["stream"], i["level"], i.get("open")) for i in now["items"]] == [
        ("INFO one", "stdout", "INFO", False), ("half", "stdout", None, True), ("ERROR two", "stderr", "ERROR", False),
    ]  # fmt: skip
    assert texts((await page(live, script.run_id, level="WARNING"))["items"]) == ["ERROR two"]
    assert texts((await page(live, script.run_id, stream="stdout", level="INFO,DEBUG"))["items"]) == ["INFO one"]
    await script.ends()
    again = Script(script.bus, script.run_id, grant=2)
    await add_attempt(live.parts, script.run_id, grant=2)
    await again.prints(b"second try\n")
    both = await page(live, script.run_id)
    assert [(i["id"], i["text"]) for i in both["items"]][-2:] == [("1.3", "ERROR two"), ("2.1", "second try")]
    assert texts((await page(live, script.run_id, grant=2))["items"]) == ["second try"]
    assert (await page(live, script.run_id, limit=3))["next"] == "2.0"


async def test_a_missing_or_forged_chunk_is_a_gap(live: Served, script: Script) -> None:
    await script.prints(b"one\n")
    forged = Frame(script.seq, 1, script.line, 0, 1, STDOUT, 0, b"forged\n")
    headers = {"grant": b"1", "first": b"1", "last": b"1", "sha256": b"0" * 64}
    await script.bus.send(".kirby.logs", key=str(script.run_id).encode(), value=forged.encode(), headers=headers)
    script.seq += 1
    script.line += 1
    await script.prints(b"three\n")
    got = await page(live, script.run_id)
    assert texts(got["items"]) == ["one", "three"]
    assert got["gaps"] == [{"grant": 1, "first_seq": 1, "last_seq": 1, "reason": "missing"}]


async def test_following_gives_every_line_once_and_the_end(live: Served, script: Script) -> None:
    await script.prints(b"before 1\nbefore 2\n")
    async with following(live, f"/runs/{script.run_id}/logs/stream") as stream:
        assert texts(await stream.lines(2)) == ["before 1", "before 2"]
        await script.prints(b"live 1\n")
        assert texts(await stream.lines(1)) == ["live 1"]
        await script.prints(b"open ", b"and closed\n")
        assert texts(await stream.lines(1)) == ["open and closed"]
        await script.ends()
        await end_run(live.parts, script)
        async with asyncio.timeout(60):
            name, run = await stream.event()
        assert (name, run["status"], run["run_id"]) == ("end", "SUCCEEDED", str(script.run_id))


async def test_the_end_waits_for_the_last_lines(live: Served, script: Script) -> None:
    async with following(live, f"/runs/{script.run_id}/logs/stream") as stream:
        await script.prints(b"one\n")
        await stream.lines(1)
        late = Script(script.bus, script.run_id, seq=script.seq, line=script.line)
        script.seq, script.line = script.seq + 2, script.line + 1
        await end_run(live.parts, script)
        await late.prints(b"late\n")
        await late.ends()
        assert texts(await stream.lines(1)) == ["late"]
        async with asyncio.timeout(60):
            assert (await stream.event())[0] == "end"


async def test_resuming_by_last_event_id_misses_and_doubles_nothing(live: Served, script: Script) -> None:
    wanted, last_id = 600, None
    got: list[str] = []

    async def write() -> None:
        for n in range(0, wanted, 5):
            await script.prints(b"".join(b"%d\n" % i for i in range(n, n + 5)), b"partial ", stream=STDOUT)
            await script.prints(b"end\n")

    async with recording(live.parts):
        writer = asyncio.create_task(write())
        while len(got) < wanted + wanted // 5:
            async with following(live, f"/runs/{script.run_id}/logs/stream", last_id=last_id) as stream:
                got += texts(await stream.lines(min(90, wanted + wanted // 5 - len(got))))
                last_id = stream.last_id
        await writer
    expected = [t for n in range(0, wanted, 5) for t in [*(str(i) for i in range(n, n + 5)), "partial end"]]
    assert got == expected


async def test_following_after_a_line_number(live: Served, script: Script) -> None:
    await script.prints(b"1\n2\n3\n")
    async with following(live, f"/runs/{script.run_id}/logs/stream", grant=1, after=2) as stream:
        assert texts(await stream.lines(1)) == ["3"]


async def test_a_slow_follower_gets_everything_from_kafka(
    live: Served, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kirby_api.logs.hub.MAX_RECORDS", 3)
    from kirby_api.logs.hub import Subscription

    monkeypatch.setattr(Subscription, "__init__", _small(Subscription.__init__))
    async with following(live, f"/runs/{script.run_id}/logs/stream") as stream:
        await asyncio.gather(*(script.prints(b"x%d\n" % n) for n in range(1)))
        await stream.lines(1)
        for n in range(300):
            await script.prints(b"%d\n" % n)
        assert texts(await stream.lines(300)) == [str(n) for n in range(300)]


def _small(original: Any) -> Any:
    def made(self: Any, key: Any, wake: Any, **more: Any) -> None:
        original(self, key, wake, max_records=2, **more)

    return made


async def test_all_runs_live(live: Served, script: Script) -> None:
    await script.prints(b"INFO earlier\n")
    async with following(live, "/logs/stream", backlog=10_0, env="prod") as stream:
        assert texts(await stream.lines(1)) == ["INFO earlier"]
        await script.prints(b"ERROR now\n")
        (line,) = await stream.lines(1)
        assert (line["text"], line["job"], line["env"], line["run_id"]) == (
            "ERROR now", "weather", "prod", str(script.run_id),
        )  # fmt: skip
        resume_from = stream.last_id
    await script.prints(b"while away\n")
    async with following(live, "/logs/stream", last_id=resume_from, job="weather") as stream:
        assert texts(await stream.lines(1)) == ["while away"]
    async with following(live, "/logs/stream", last_id=resume_from, job="other") as stream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await stream.event()


async def test_bad_questions_are_answered_with_a_sentence(live: Served, script: Script) -> None:
    for params, says in (
        ({"level": "loud"}, "level 'loud' is unknown"),
        ({"after": "x"}, "after: 'x'"),
        ({"limit": 0}, "limit"),
    ):
        answer = await live.admin.get(f"/runs/{script.run_id}/logs", params=params)
        assert answer.status_code == 422
        assert says in answer.json()["detail"]
    answer = await live.admin.get(f"/runs/{script.run_id}/logs/stream", headers={"Last-Event-ID": "nonsense"})
    assert answer.status_code == 422
    missing = await live.admin.get(f"/runs/{UUID(int=1)}/logs")
    assert missing.status_code == 404


async def test_run_events_are_streamed(live: Served) -> None:
    api = live.admin
    await api.post("/scripts", json={"package_name": "p", "package_version": "1"})
    await api.post("/environments", json={"name": "prod"})
    await api.post("/jobs", json={"name": "j"})
    await api.post(
        "/contexts", json={"job": "j", "env": "prod", "script": {"package_name": "p", "package_version": "1"}}
    )
    await eventually(lambda: bool(live.parts.event_hub.positions), timeout=10)
    async with following(live, "/runs/stream", job="j") as stream:
        made = (await api.post("/runs", json={"job": "j", "env": "prod"})).json()
        async with asyncio.timeout(60):
            name, data = await stream.event()
        assert (name, data["run_id"], data["status"]) == ("run", made["run_id"], "PENDING")
        await api.post(f"/runs/{made['run_id']}/cancel", json={"reason": "no need"})
        async with asyncio.timeout(60):
            assert (await stream.event())[1]["status"] == "CANCELLED"


async def test_a_log_is_complete_when_kafka_has_all_that_was_counted(live: Served, script: Script) -> None:
    await script.prints(b"one\n")
    late = Script(script.bus, script.run_id, seq=script.seq, line=script.line)
    script.seq, script.line = script.seq + 2, script.line + 1
    await end_run(live.parts, script)
    assert (await page(live, script.run_id))["complete"] is False
    assert (await page(live, script.run_id, tail=5))["complete"] is False
    await late.prints(b"late\n")
    await late.ends()
    whole = await page(live, script.run_id)
    assert (texts(whole["items"]), whole["complete"]) == (["one", "late"], True)
