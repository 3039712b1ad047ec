"""Rewinds in shadow over REST, with real groups on a real Kafka: what is refused, what their runs may tell and ask."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from confluent_kafka import Consumer
from kirby_common import assertions
from kirby_common.kafka import KafkaTopicAdmin, confluent_options
from kirby_common.kafka_groups import KafkaGroups
from kirby_common.ports import Commit
from kirby_common.settings import KafkaSettings
from kirby_common.topics import TopicSpec

from tests.integration.api.conftest import Served
from tests.integration.api.test_api_rewinds import NOW, coordinator, processed, raw, register, since
from tests.integration.ledger.world import World

__all__ = ["coordinator", "raw"]
COMPARISON: dict[str, Any] = {
    "at": NOW.isoformat(),
    "topics": [{
        "topic": "daily", "same": 1, "changed": 1, "only_original": 0, "only_shadow": 0,
        "examples": [{
            "kind": "changed", "key": "a", "original": {"place": "0:1", "value": "1"},
            "shadow": {"place": "0:0", "value": None},
        }],
    }],
    "states": [{"state": "records", "same": 0, "changed": 0, "only_shadow": 1, "examples": []}],
}  # fmt: skip


@asynccontextmanager
async def member(settings: KafkaSettings, topic: str, name: str | None) -> AsyncIterator[None]:
    """Somebody in the daemon's group, by the SDK's name or by none."""
    options: dict[str, Any] = {"group.id": f"daily-{topic}", "auto.offset.reset": "earliest"}
    consumer = Consumer(confluent_options(settings) | options | ({"group.instance.id": name} if name else {}))
    consumer.subscribe([topic])
    assert consumer.poll(60) is not None
    yield
    consumer.close()


@pytest.fixture
async def daily(served: Served, kafka_settings: KafkaSettings, raw: str) -> UUID:
    """A daemon that has processed five of the six messages, and is up."""
    world = World(served.parts.engine)
    context = await world.context(job="daily", type="daemon", group=f"daily-{raw}")
    await world.sql("INSERT INTO daemon_slots (context_id, slot, state) VALUES (:c, 0, 'UP')", c=context)
    await processed(kafka_settings, f"daily-{raw}", raw, 5)
    return context


def shadow(topic: str) -> dict[str, object]:
    return since(45, target=topic, mode="shadow")


def by_run(served: Served, run_id: UUID) -> dict[str, str]:
    key = served.parts.settings.secret_key.get_secret_value()
    token = assertions.issue({"run_id": str(run_id)}, key=key, audience=assertions.RUN, ttl_s=60)
    return {"Authorization": f"Bearer {token}"}


async def refused(served: Served, asked: dict[str, object]) -> tuple[int, str]:
    answer = await served.admin.post("/rewinds/preview", json=asked)
    return answer.status_code, answer.json()["detail"]


async def test_only_a_daemon_that_is_seen_to_read_by_the_sdk(
    served: Served, kafka_settings: KafkaSettings, daily: UUID, raw: str
) -> None:
    world = World(served.parts.engine)
    status, why = await refused(served, shadow(raw))
    assert (status, "does not read by Kirby's SDK, or has just begun" in why) == (409, True)
    async with member(kafka_settings, raw, None):
        status, why = await refused(served, shadow(raw))
    assert (status, "does not read by Kirby's SDK" in why) == (409, True)
    await world.sql("UPDATE daemon_slots SET state = 'DOWN'")
    status, why = await refused(served, shadow(raw))
    assert (status, "is not up, so that it can't be seen" in why) == (409, True)


async def test_what_it_reads_besides_is_told(
    served: Served, kafka_settings: KafkaSettings, daily: UUID, raw: str
) -> None:
    other = f"{raw}.other"
    await KafkaTopicAdmin(kafka_settings).ensure([TopicSpec(other, "", (), (), (), partitions=1)])
    await KafkaGroups(kafka_settings).commit(f"daily-{raw}", {(other, 0): Commit(0)})
    async with member(kafka_settings, raw, f"daily-{raw}.0.{raw}"):
        (preview,) = (await served.admin.post("/rewinds/preview", json=shadow(raw))).json()["items"]
    assert any(f"daily reads {other}, too, of which a run in shadow gets nothing" in w for w in preview["warnings"])


async def test_a_scheduled_job_has_no_shadow(served: Served) -> None:
    await World(served.parts.engine).context(job="sensor", every=timedelta(hours=1))
    status, why = await refused(served, shadow("sensor"))
    assert (status, "is a scheduled job: there is no rewind of it in shadow" in why) == (422, True)


async def test_what_has_no_room_beside_it_and_what_is_owned_is_refused(
    served: Served, kafka_settings: KafkaSettings, daily: UUID, raw: str
) -> None:
    world = World(served.parts.engine)
    await register(world, "daily", reads=raw, writes="n" * 240)
    async with member(kafka_settings, raw, f"daily-{raw}.0.{raw}"):
        status, why = await refused(served, shadow(raw))
        assert (status, "has too long a name" in why) == (422, True)
        await world.sql("DELETE FROM script_topics")
        await world.sql(
            "INSERT INTO lineage_edges (env, job, version, direction, kind, name, first_seen, last_seen)"
            " VALUES ('prod', 'daily', '1', 'out', 'state', 'hits', now(), now())"
        )
        await world.sql(
            "INSERT INTO state_logs (topic, prefix, name, partitions, owned) VALUES ('x', '', 'hits', 1, true)"
        )
        status, why = await refused(served, shadow(raw))
    assert (status, "daily owns the State hits" in why) == (409, True)


async def test_from_its_preview_to_its_comparison_and_its_orders(
    served: Served, kafka_settings: KafkaSettings, daily: UUID, raw: str
) -> None:
    world, run = World(served.parts.engine), uuid4()
    await register(world, "daily", reads=raw, writes=raw)
    async with member(kafka_settings, raw, f"daily-{raw}.0.{raw}"):
        (preview,) = (await served.admin.post("/rewinds/preview", json=shadow(raw))).json()["items"]
        assert (preview["mode"], preview["messages"]) == ("shadow", 3)
        assert not any("gets nothing" in warning for warning in preview["warnings"])
        (made,) = (await served.admin.post("/rewinds", json=shadow(raw))).json()["items"]
        assert (made["mode"], made["state"], made["comparison"]) == ("shadow", "draining", None)
        again = await served.admin.post("/rewinds", json=shadow(raw))
        assert (again.status_code, "being rewound already" in again.json()["detail"]) == (409, True)
    one = f"/rewinds/{made['id']}"
    for order in ("promote", "drop", "compare"):
        answer = await served.admin.post(f"{one}/{order}")
        assert (answer.status_code, "nothing was changed" in answer.json()["detail"]) == (409, True)
    await world.sql("UPDATE rewinds SET state = 'comparing', run_id = :run", run=run)
    of_another = await served.nobody.put(f"{one}/comparison", json=COMPARISON, headers=by_run(served, uuid4()))
    assert of_another.status_code == 403
    assert (await served.admin.put(f"{one}/comparison", json=COMPARISON)).status_code == 403
    kept = await served.nobody.put(f"{one}/comparison", json=COMPARISON, headers=by_run(served, run))
    assert kept.status_code == 204, kept.text
    await world.sql(
        "INSERT INTO lineage_processes (process, reads, job, env, package, version, run_id, attempt, slot, host, pid,"
        " program, rerun, at) VALUES ('\\x0102030405060708', 'raw', 'daily', 'prod', 'p', '1', '', 1, '0', 'h', 1, '',"
        " false, now())"
    )
    asked = {"processes": ["0102030405060708", "00" * 8]}
    told = await served.nobody.post(f"{one}/processes", json=asked, headers=by_run(served, run))
    assert told.json() == {"items": [{"process": "0102030405060708", "job": "daily", "env": "prod", "reads": "raw"}]}, (
        told.text
    )
    await world.sql("UPDATE rewinds SET state = 'ready'")
    found = (await served.viewer.get(one)).json()
    assert found["comparison"]["topics"][0]["examples"][0]["original"] == {"place": "0:1", "value": "1"}
    assert (await served.viewer.post(f"{one}/promote")).status_code == 403
    assert (await served.admin.post(f"{one}/compare")).json()["state"] == "comparing"
    await world.sql("UPDATE rewinds SET state = 'ready'")
    promoting = await served.admin.post(f"{one}/promote")
    assert (promoting.json()["state"], promoting.json()["run_id"]) == ("promoting", None)
    twice = await served.admin.post(f"{one}/promote")
    assert (twice.status_code, "is promoting: it can't be promoted" in twice.json()["detail"]) == (409, True)
