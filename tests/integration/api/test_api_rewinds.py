"""Rewinds over REST, with real groups on a real Kafka: what is planned, what is refused, and orders."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer
from kirby_common.kafka import KafkaTopicAdmin, confluent_options
from kirby_common.kafka_groups import KafkaGroups
from kirby_common.ledger.tables import Script, ScriptTopic, Topic
from kirby_common.ports import BusUnavailable, Commit
from kirby_common.settings import KafkaSettings
from kirby_common.topics import TopicSpec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tests.contract.test_kafka_offsets import write
from tests.eventually import eventually
from tests.integration.api.conftest import Served
from tests.integration.ledger.world import World

MINUTE = timedelta(minutes=1)
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
async def raw(kafka_settings: KafkaSettings, unique_name: Callable[[str], str]) -> str:
    """A topic with six messages of the last hour in partition 0."""
    name = unique_name("raw")
    await KafkaTopicAdmin(kafka_settings).ensure(
        [TopicSpec(name, "", (), (), (), partitions=1, extra={"message.timestamp.type": "CreateTime"})]
    )
    for minutes in (50, 40, 30):
        write(kafka_settings, name, 2, at=NOW - minutes * MINUTE)
    return name


@pytest.fixture(autouse=True)
async def coordinator(kafka_settings: KafkaSettings) -> None:
    """A fresh broker makes what it keeps groups in when it is first asked for one."""

    async def answers() -> bool:
        try:
            return bool(await KafkaGroups(kafka_settings).look(["nobody"]))
        except BusUnavailable:
            return False

    await eventually(answers, timeout=60, what="a coordinator")


async def processed(settings: KafkaSettings, group: str, topic: str, offset: int) -> None:
    """The group has got so far. A fresh broker makes what it keeps commits in first."""

    async def committed() -> bool:
        try:
            await KafkaGroups(settings).commit(group, {(topic, 0): Commit(offset)})
        except BusUnavailable:
            return False
        return True

    await eventually(committed, timeout=60, what="a coordinator that takes the commit")


def since(minutes: int, **more: object) -> dict[str, object]:
    return {"from": (NOW - minutes * MINUTE).isoformat(), **more}


async def register(world: World, job: str, *, reads: str | None = None, writes: str | None = None) -> None:
    async with AsyncSession(world.engine) as db, db.begin():
        script = (await db.scalars(select(Script).where(Script.package_name == f"{job}-prod"))).one()
        for name, direction in ((reads, "source"), (writes, "destination")):
            if name is None:
                continue
            topic = (await db.scalars(select(Topic).where(Topic.name == name))).one_or_none()
            if topic is None:
                topic = Topic(name=name)
                db.add(topic)
                await db.flush()
            db.add(ScriptTopic(script_id=script.id, topic_id=topic.id, direction=direction))


async def test_a_rewind_from_its_preview_to_its_orders(served: Served, kafka_settings: KafkaSettings, raw: str) -> None:
    world = World(served.parts.engine)
    for job, group in (("daily", f"daily-{raw}"), ("mail", None)):
        await world.context(job=job, type="daemon", group=group)
    await register(world, "daily", reads=raw, writes="weather.daily")
    await register(world, "mail", reads="weather.daily")
    await world.sql(
        "INSERT INTO lineage_edges (env, job, version, direction, kind, name, first_seen, last_seen)"
        " VALUES ('prod', 'mail', '0.9', 'out', 'web', 'smtp.test', now(), now())"
    )
    await processed(kafka_settings, f"daily-{raw}", raw, 5)
    asked = since(45, target=raw, rate=2)
    (preview,) = (await served.admin.post("/rewinds/preview", json=asked)).json()["items"]
    assert (preview["job"], preview["env"], preview["messages"], preview["lasts_s"]) == ("daily", "prod", 3, 1.5)
    assert preview["parts"] == [{"topic": raw, "partition": 0, "from": 2, "to": 5, "position": 2}]
    assert (preview["touched_topics"], preview["touched_jobs"]) == (["weather.daily"], ["mail"])
    assert preview["touched_others"] == ["web:smtp.test"]
    by_job = (await served.admin.post("/rewinds/preview", json=since(45, to=since(35)["from"], target="daily"))).json()
    assert [part["to"] for part in by_job["items"][0]["parts"]] == [4]
    assert (await served.viewer.post("/rewinds", json=asked)).status_code == 403
    (made,) = (await served.admin.post("/rewinds", json=asked)).json()["items"]
    assert (made["state"], made["total"], made["requested_by"]) == ("draining", 0, "ada")
    again = await served.admin.post("/rewinds", json=asked)
    assert (again.status_code, "being rewound already" in again.json()["detail"]) == (409, True)
    one = f"/rewinds/{made['id']}"
    assert (await served.viewer.post(f"{one}/pause")).status_code == 403
    paused = (await served.admin.post(f"{one}/pause", json={"reason": "later"})).json()
    assert (paused["state"], paused["wanted"], paused["reason"]) == ("draining", "pause", "paused by ada: later")
    assert (await served.admin.post(f"{one}/resume")).json()["wanted"] == "run"
    assert (await served.admin.post(f"{one}/throttle", json={"rate": 7})).json()["rate"] == 7
    assert (await served.admin.post(f"{one}/cancel")).json()["wanted"] == "cancel"
    refused = await served.admin.post(f"{one}/resume")
    assert (refused.status_code, "is being cancelled" in refused.json()["detail"]) == (409, True)
    assert [r["id"] for r in (await served.viewer.get("/rewinds")).json()["items"]] == [made["id"]]


async def test_ranges_that_can_not_be_rewound(served: Served, kafka_settings: KafkaSettings, raw: str) -> None:
    await World(served.parts.engine).context(job="daily", type="daemon", group=f"daily-{raw}")
    await processed(kafka_settings, f"daily-{raw}", raw, 5)
    for asked, why in (
        ({"from": (NOW + timedelta(days=1)).isoformat()}, "begins in the future"),
        (since(30, to=(NOW + timedelta(days=1)).isoformat()), "ends in the future"),
        (since(30, to=since(40)["from"]), "has to begin before it ends"),
        (since(20), "has no message of that time"),
        (since(48, to=since(45)["from"]), "has no message of that time"),
    ):
        refused = await served.admin.post("/rewinds/preview", json={"target": raw, **asked})
        assert (refused.status_code, why in refused.json()["detail"]) == (422, True), refused.text
    nobody = await served.admin.post("/rewinds", json=since(30, target="nobody.reads"))
    assert (nobody.status_code, "no job is called so" in nobody.json()["detail"]) == (404, True)


async def test_a_stranger_in_the_group_and_a_cycle_are_refused(
    served: Served, kafka_settings: KafkaSettings, raw: str
) -> None:
    world = World(served.parts.engine)
    await world.context(job="daily", type="daemon", group=f"daily-{raw}")
    await processed(kafka_settings, f"daily-{raw}", raw, 5)
    await register(world, "daily", reads=raw, writes=raw)
    refused = await served.admin.post("/rewinds", json=since(45, target="daily"))
    assert (refused.status_code, f"comes back to it (daily → {raw} → daily)" in refused.json()["detail"]) == (409, True)
    options = {"group.id": f"daily-{raw}", "client.id": "laptop", "auto.offset.reset": "earliest"}
    consumer = Consumer(confluent_options(kafka_settings) | options)
    consumer.subscribe([raw])
    assert consumer.poll(60) is not None
    refused = await served.admin.post("/rewinds", json=since(45, target="daily"))
    consumer.close()
    assert (refused.status_code, "a member that Kirby did not start (laptop at" in refused.json()["detail"]) == (
        409,
        True,
    )


async def test_a_scheduled_job_runs_its_due_times_again(served: Served) -> None:
    await World(served.parts.engine).context(job="sensor", every=timedelta(hours=1))
    ago = {"from": 25, "to": 5}
    asked = {"target": "sensor"} | {end: (NOW - hours * 60 * MINUTE).isoformat() for end, hours in ago.items()}
    preview = (await served.admin.post("/rewinds/preview", json=asked)).json()
    assert (preview["items"], preview["backfill"]["to_run"]) == ([], 20)
    made = (await served.admin.post("/rewinds", json=asked)).json()["backfill"]
    assert (made["rerun"], made["existing"], made["total"]) == (True, "anew", 20)


async def test_a_name_that_runs_in_two_environments_needs_one(served: Served) -> None:
    world = World(served.parts.engine)
    for env in ("prod", "test"):
        await world.context(job="daily", env=env, type="daemon")
    refused = await served.admin.post("/rewinds/preview", json=since(10, target="daily"))
    assert (refused.status_code, refused.json()["detail"]) == (422, "'daily' runs in prod, test: give --env")
    one = await served.admin.post("/rewinds/preview", json=since(10, target="daily", env="test"))
    assert (one.status_code, "has not processed anything yet" in one.json()["detail"]) == (422, True)
