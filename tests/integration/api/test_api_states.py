"""States over REST: set, read, history, restore, diff, rebuild, with the recorder at work on the real stores."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import kirby
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kirby import transport
from kirby._confluent import Confluent
from kirby.state import _owner
from kirby.state.records import (
    POSITION_KEY,
    Latest,
    Mutation,
    Value,
    decode_latest,
    decode_position,
    encode_key,
    encode_mutation,
    latest_topic,
    log_topic,
)
from kirby.state.rule import Op, Verdict, Writer
from kirby_api.adapters.kafka_states import KafkaLatestTopics, KafkaStateLogs, log_spec
from kirby_api.states import writing
from kirby_api.states.recorder import StateRecorder
from kirby_common.kafka import KafkaBus, KafkaTopicAdmin
from kirby_common.settings import KafkaSettings
from sqlalchemy import text

from tests.eventually import eventually
from tests.integration.api.conftest import Served, serving, settings_for

ENV = "space"


@dataclass
class States:
    """A web role and a recorder on a database of their own; `prefix` keeps the States of a module apart."""

    served: Served
    kafka: KafkaSettings
    prefix: str
    name: str = ""

    @property
    def api(self) -> httpx2.AsyncClient:
        return self.served.admin

    async def call(self, method: str, what: str, *, code: int = 200, body: Any = None, **query: Any) -> Any:
        answer = await self.api.request(method, f"/states/{self.name}{what}", params={"env": ENV} | query, json=body)
        assert answer.status_code == code, answer.text
        return answer.json()

    async def set(self, key: str, value: Any, *, code: int = 200, expect: int | None = None) -> Any:
        return await self.call("PUT", "/value", key=key, body={"value": value, "expect_version": expect}, code=code)

    async def history(self, key: str) -> list[tuple[int, str, Any]]:
        page = await self.call("GET", "/history", key=key)
        return [(v["version"], v["op"], v["value"]) for v in reversed(page["items"])]

    @property
    def topic(self) -> str:
        return log_topic(self.name, prefix=self.prefix)

    async def sql(self, statement: str, **values: Any) -> Sequence[Any]:
        async with self.served.parts.engine.begin() as tx:
            done = await tx.execute(text(statement), values)
            return done.all() if done.returns_rows else []

    async def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """The tables, as far as they are this State's."""
        return {
            table: [
                tuple(r)
                for r in await self.sql(f"SELECT * FROM {table} WHERE topic = :t ORDER BY 1, 2, 3", t=self.topic)
            ]
            for table in ("state_keys", "state_versions")
        }


@asynccontextmanager
async def recording(states: States) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        logs = await stack.enter_async_context(KafkaStateLogs(states.kafka, prefix=states.prefix))
        ours = KafkaLatestTopics(states.kafka, transactional_id=f"recorder-{states.prefix}")
        latest = await stack.enter_async_context(ours)
        task = asyncio.create_task(StateRecorder(states.served.parts.engine, logs, latest, every_s=0.05).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(scope="module")
async def module_states(
    new_database: Callable[..., AbstractContextManager[str]],
    ledger_template: str,
    kafka_settings: KafkaSettings,
    redis_part: str,
) -> AsyncIterator[States]:
    prefix = f"t{uuid4().hex[:8]}."
    with new_database(template=ledger_template) as database:
        async with serving(settings_for(database, kafka_settings, redis_part)) as served:
            made = await served.admin.post("/environments", json={"name": ENV, "topic_prefix": prefix})
            assert made.status_code == 201
            states = States(served, kafka_settings, prefix)
            async with recording(states):
                yield states


@pytest.fixture
def states(module_states: States, unique_name: Callable[[str], str]) -> States:
    """A name for a State of the test's own."""
    return States(module_states.served, module_states.kafka, module_states.prefix, unique_name("s"))


async def test_three_sets_and_a_restore_are_four_versions(states: States) -> None:
    for value in ({"usd": 1}, {"usd": 2}, {"usd": 3}):
        await states.set("k", value)
    restored = await states.call("POST", "/restore", body={"key": "k", "version": 1})
    assert (restored["version"], restored["value"], restored["restores"]) == (4, {"usd": 1}, 1)
    assert await states.history("k") == [
        (1, "set", {"usd": 1}),
        (2, "set", {"usd": 2}),
        (3, "set", {"usd": 3}),
        (4, "restore", {"usd": 1}),
    ]
    assert (await states.call("GET", "/value", key="k", version=2))["value"] == {"usd": 2}
    assert {v["by"] for v in (await states.call("GET", "/history", key="k"))["items"]} == {"ada"}


async def test_of_two_who_expect_the_same_version_one_is_told_the_current_one(states: States) -> None:
    await states.set("k", 0)
    answers = await asyncio.gather(
        *(
            states.api.put(
                f"/states/{states.name}/value",
                params={"env": ENV, "key": "k"},
                json={"value": n, "expect_version": 1},
            )
            for n in range(4)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    for lost in (answer.json() for answer in answers if answer.status_code == 409):
        assert lost["version"] == 2
        assert "has version 2, not 1: read it again" in lost["detail"]
    assert [version for version, _, _ in await states.history("k")] == [1, 2]


async def test_a_deleted_key_is_a_version_and_comes_back(states: States) -> None:
    await states.set("k", "there", expect=0)
    gone = await states.call("DELETE", "/value", key="k", expect_version=1)
    assert (gone["version"], gone["deleted"], gone["value"]) == (2, True, None)
    assert (await states.call("GET", "/keys"))["items"] == []
    assert [v["key"] for v in (await states.call("GET", "/keys", deleted=True))["items"]] == ["k"]
    await states.call("POST", "/restore", body={"key": "k", "version": 2}, code=200)
    assert (await states.call("GET", "/value", key="k"))["version"] == 3
    await states.call("POST", "/restore", body={"key": "k", "version": 9}, code=404)


async def test_keys_by_prefix_page_by_page(states: States) -> None:
    keys = ["a/1", "a/2", "a/3", "b%", "ä/1", "a"]
    await asyncio.gather(*(states.set(key, key) for key in keys))
    first = await states.call("GET", "/keys", prefix="a/", limit=2)
    rest = await states.call("GET", "/keys", prefix="a/", limit=2, cursor=first["next"])
    assert [v["key"] for v in first["items"] + rest["items"]] == ["a/1", "a/2", "a/3"]
    assert rest["next"] is None
    every = await states.call("GET", "/keys")
    assert [v["key"] for v in every["items"]] == sorted(keys, key=str.encode)
    seen = await states.call("GET", "")
    assert (seen["keys"], seen["versions"], seen["env"], seen["problem"]) == (6, 6, ENV, None)
    assert states.name in [s["name"] for s in (await states.api.get("/states")).json()["items"]]


async def test_what_differs_between_versions_and_between_instants(states: States) -> None:
    await states.set("k", {"usd": 1, "eur": [1, 2], "old": True})
    before = (await states.set("other", 1))["at"]
    await states.set("k", {"usd": 2, "eur": [1, 2, 3], "new/er": None})
    diff = await states.call("GET", "/diff", key="k", before=1, after=2)
    assert [(d["path"], d["what"], d["before"], d["after"]) for d in diff["changes"]] == [
        ("/usd", "changed", 1, 2),
        ("/eur/2", "added", None, 3),
        ("/old", "removed", True, None),
        ("/new~1er", "added", None, None),
    ]
    changed = await states.call("GET", "/changes", since=before)
    assert [(c["key"], c["before"]["version"], c["after"]["version"]) for c in changed["items"]] == [("k", 1, 2)]
    assert (await states.call("GET", "/value", key="k", as_of=before))["version"] == 1
    await states.call("GET", "/value", key="k", as_of="2026-01-01T00:00:00", code=422)


async def test_what_is_not_there_or_not_allowed(states: States) -> None:
    answer = await states.call("GET", "/value", key="k", code=404)
    assert answer["detail"].startswith(f"there is no State '{states.name}' in {ENV}")
    await states.set("k", 1)
    assert (await states.call("GET", "/value", key="x", code=404))["detail"].startswith("there is no key 'x'")
    await states.call("GET", "/value", key="", code=422)
    await states.call("PUT", "/value", key="big", body={"value": "x" * 600_000}, code=413)
    where = f"/states/{states.name}/value"
    assert (await states.api.get("/states/Prices/value", params={"key": "k"})).status_code == 422
    assert (await states.api.get(where, params={"key": "k", "env": "moon"})).status_code == 404
    refused = await states.served.viewer.put(where, params={"key": "k", "env": ENV}, json={"value": 2})
    assert refused.status_code == 403


def mutation(key: str, n: int, plain: Any, /, **changed: Any) -> Mutation:
    given: dict[str, Any] = {"op": Op.SET, "writer": Writer("run", 1, "p1"), "of": 2, "by": "weather@prod"}
    return Mutation(key=key, n=n, **({"value": Value(json.dumps(plain).encode())} | given | changed))


async def write(states: States, *mutations: Mutation | bytes, commit: bool | None = None) -> None:
    """To a log of two partitions; `commit` True or False within a transaction that ends so."""
    await KafkaTopicAdmin(states.kafka).ensure([log_spec(states.topic, partitions=2)])
    if commit is None:
        async with KafkaBus(states.kafka) as bus:
            for one in mutations:
                key, value = (b"bad", one) if isinstance(one, bytes) else (encode_key(one.key), encode_mutation(one))
                await bus.send(states.topic, key=key, value=value)
        return
    servers = states.kafka.kafka_bootstrap_servers
    async with AIOKafkaProducer(bootstrap_servers=servers, transactional_id=str(uuid4())) as producer:
        await producer.begin_transaction()
        for one in mutations:
            assert isinstance(one, Mutation)
            await producer.send_and_wait(states.topic, encode_mutation(one), key=encode_key(one.key))
        await (producer.commit_transaction() if commit else producer.abort_transaction())


async def folded_to_the_end(states: States) -> bool:
    bounds = await states.served.parts.log_store.bounds(states.topic)
    rows = await states.sql("SELECT partition, next_offset FROM state_offsets WHERE topic = :t", t=states.topic)
    return bool(rows) and all(offset >= bounds[partition].end for partition, offset in rows)


async def test_the_recorder_folds_by_the_rule_and_skips_what_is_bad(states: States) -> None:
    stale = mutation("k", 2, "stale", writer=Writer("run", 0, "p0"))
    await write(states, mutation("k", 1, "a"), mutation("k", 1, "a"), b"not ours", stale, mutation("k", 2, "b"))
    await write(states, mutation("k", 3, "never"), commit=False)
    await write(states, mutation("k", 3, "c", rerun=True, inputs=("raw 0:1",)), mutation("m", 4, "d"), commit=True)
    await eventually(lambda: folded_to_the_end(states), timeout=20)
    assert await states.history("k") == [(1, "set", "a"), (2, "set", "b"), (3, "set", "c")]
    last = await states.call("GET", "/value", key="k")
    assert (last["run"], last["grant"], last["rerun"], last["inputs"]) == ("run", 1, True, ["raw 0:1"])


async def read_latest(states: States) -> tuple[dict[str, Latest], dict[int, int]]:
    topic = latest_topic(states.name, prefix=states.prefix)
    found: dict[str, Latest] = {}
    positions: dict[int, int] = {}
    servers = states.kafka.kafka_bootstrap_servers
    async with AIOKafkaConsumer(bootstrap_servers=servers, isolation_level="read_committed") as consumer:
        consumer.assign([TopicPartition(topic, n) for n in range(2)])
        await consumer.seek_to_beginning()
        while got := await consumer.getmany(timeout_ms=500):
            for where, records in got.items():
                for record in records:
                    if record.key == POSITION_KEY:
                        positions[where.partition] = decode_position(record.value)
                    else:
                        found[record.key.decode()] = decode_latest(record.value)
    return found, positions


async def test_latest_tells_each_key_and_how_far_it_goes(states: States) -> None:
    await write(states, *(mutation(f"k{n}", n, n) for n in range(10)), mutation("k1", 10, "newer"))
    await write(states, mutation("k2", 11, "lost", expect=7), mutation("k3", 12, None, op=Op.DELETE, value=None))

    async def told() -> bool:
        rows = await states.sql("SELECT told_offset, next_offset FROM state_offsets WHERE topic = :t", t=states.topic)
        return await folded_to_the_end(states) and all(told == upto for told, upto in rows)

    await eventually(told, timeout=20)
    found, positions = await read_latest(states)
    assert {key: latest.memory.version for key, latest in found.items()} == {
        f"k{n}": 1 + (n in (1, 3)) for n in range(10)
    }
    assert found["k1"].value == Value(b'"newer"')
    assert found["k2"].memory.recent[-1].outcome.verdict is Verdict.CONFLICT
    bounds = await states.served.parts.log_store.bounds(states.topic)
    assert positions == {number: bound.end for number, bound in bounds.items() if bound.end}


async def test_what_was_dropped_is_folded_again_to_the_same(states: States) -> None:
    for n in range(6):
        await states.set(f"k{n % 3}", {"n": n})
    await states.set("k0", "lost", expect=9, code=409)
    before = await states.rows()
    for table in ("state_keys", "state_versions", "state_offsets"):
        await states.sql(f"DELETE FROM {table} WHERE topic = :t", t=states.topic)
    assert await states.call("POST", "/rebuild", wait=30) == {"done": True}
    assert await states.rows() == before
    assert len(before["state_versions"]) == 6


async def test_two_recorders_fold_everything_once(states: States) -> None:
    async with recording(states), recording(states):
        await write(states, *(mutation(f"k{n % 7}", n, n) for n in range(1, 400)))
        await eventually(lambda: folded_to_the_end(states), timeout=30)
    rows = await states.sql(
        "SELECT key, array_agg(version ORDER BY version) FROM state_versions WHERE topic = :t GROUP BY 1",
        t=states.topic,
    )
    assert sum(len(versions) for _, versions in rows) == 399
    assert all(versions == list(range(1, len(versions) + 1)) for _, versions in rows)


async def test_a_rule_that_is_not_known_stops_its_state_and_no_other(states: States) -> None:
    await write(states, mutation("k", 1, 1))
    await write(states, b'{"rule":"fold/2","op":"merge"}')

    async def problem() -> Any:
        return (await states.call("GET", ""))["problem"]

    told = await eventually(problem, timeout=20)
    assert "'fold/2', which this version does not know: update kirby" in told
    assert told in (await states.set("k", 2, code=409))["detail"]
    states.name += "-other"
    await states.set("k", 1)


async def test_a_changed_number_of_partitions_stops_a_state(states: States) -> None:
    await write(states, mutation("k", 1, 1), mutation("k", 2, 2, of=3))

    async def problem() -> Any:
        return (await states.call("GET", ""))["problem"]

    assert "has 2 partitions and had 3" in await eventually(problem, timeout=20)


def own(states: States, ended: threading.Event) -> None:
    """A processor that owns the State, with time enough for commands, until it is told to end."""
    with (
        transport.using(Confluent(states.kafka.kafka_bootstrap_servers)),
        kirby.Topic(f"in-{states.name}", group=states.name, create=True, partitions=2) as source,
    ):
        kirby.OwnedState(states.name, source, create=True)
        while not ended.is_set():
            for _ in source.exactly_once(every=0.05, timeout=0.2):
                pass


async def test_what_is_set_in_an_owned_state_is_applied_by_its_owner(
    states: States, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KIRBY_TOPIC_PREFIX", states.prefix)
    monkeypatch.setenv("KIRBY_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(_owner, "COMMAND_MS", 600_000)
    ended = threading.Event()
    owner = asyncio.create_task(asyncio.to_thread(own, states, ended))

    async def is_there() -> bool:
        answer = await states.api.get(f"/states/{states.name}", params={"env": ENV})
        return answer.status_code == 200 and bool(answer.json()["owned"])

    try:
        await eventually(is_there, timeout=60)
        # The first may come before the group has given out its partitions; it waits for that.
        monkeypatch.setattr(writing, "_OWNER_S", 120.0)
        assert (await states.set("k", 1))["version"] == 1
        assert (await states.set("k", 2, expect=1))["version"] == 2
        assert (await states.set("k", 3, expect=1, code=409))["version"] == 2
        assert (await states.call("POST", "/restore", body={"key": "k", "version": 1}))["version"] == 3
        assert await states.history("k") == [(1, "set", 1), (2, "set", 2), (3, "restore", 1)]
    finally:
        ended.set()
        await owner
    monkeypatch.setattr(writing, "_OWNER_S", 0.5)
    told = (await states.set("k", 4, code=409))["detail"]
    assert "its owner did not apply it within 0.5 s: is the processor that owns it running?" in told
