"""What a topic's retention has deleted: a journey, a rewind and a replay each say so, and what is left."""

import time
from datetime import timedelta
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from kirby import lineage
from kirby._confluent import Confluent
from kirby.replaying.copying import replay
from kirby.replaying.kafka import KafkaSource
from kirby.replaying.ports import Copied, Extent, ReplayRefused
from kirby_common.kafka import confluent_options
from kirby_common.settings import KafkaSettings

from tests.eventually import eventually
from tests.integration.api.conftest import Served
from tests.integration.api.test_api_rewinds import MINUTE, NOW, coordinator, processed, raw, since
from tests.integration.ledger.world import World

__all__ = ["coordinator", "raw"]

PROCESS = b"process1"


class Shelf:
    """A target that keeps what it gets."""

    def __init__(self) -> None:
        self.copied: list[Copied] = []

    def begin(self, extent: Extent) -> dict[int, int]:
        return {}

    def put(self, extent: Extent, partition: int, records: Any, following: int) -> None:
        self.copied += records

    def close(self) -> None: ...


def delete(settings: KafkaSettings, topic: str, *, before: int) -> None:
    """As the broker's own cleaning does in the end, without waiting for it."""
    admin = AdminClient(confluent_options(settings))
    for done in admin.delete_records([TopicPartition(topic, 0, before)]).values():
        done.result(30)


async def test_a_journey_says_that_the_message_is_gone_or_what_came_of_it(
    served: Served, kafka_settings: KafkaSettings, raw: str
) -> None:
    world, out = World(served.parts.engine), f"{raw}.out"
    header = lineage.begin(bytes(16), lineage.pack_hop(PROCESS, 0, 3))
    producer = Producer(confluent_options(kafka_settings))
    Confluent(kafka_settings.kafka_bootstrap_servers).admin().create(out, partitions=1)
    for _ in range(2):
        producer.produce(out, b"1", partition=0, headers=[("kirby", header)])
    producer.flush(30)
    # Not as of when this module was loaded: in a long run that is before the messages that were just sent.
    now = round(time.time() * 1000)
    await world.sql(
        "INSERT INTO lineage_spans (process, reads, direction, kind, name, partition, from_offset, to_offset, count,"
        " since_ms, until_ms) VALUES (:process, :reads, 'out', 'topic', :out, 0, 3, 4, 2, :since, :until)",
        process=PROCESS, reads=raw, out=out, since=now - 600_000, until=now + 600_000,
    )  # fmt: skip

    async def journey(place: str) -> Any:
        return (await served.admin.get("/lineage/journey", params={"topic": raw, "message": place})).json()

    whole = await journey("0:3")
    assert ([t["message"]["place"] for t in whole["touched"]], whole["expired"]) == (["0:0", "0:1"], False)
    delete(kafka_settings, out, before=1)
    half = await journey("0:3")
    assert ([t["message"]["place"] for t in half["touched"]], half["expired"]) == (["0:1"], True)
    delete(kafka_settings, out, before=2)
    none = await journey("0:3")
    assert (none["touched"], none["expired"]) == ([], True)
    delete(kafka_settings, raw, before=4)
    gone = await journey("0:3")
    assert f"the message {raw} 0:3 is not kept any more: the oldest of its partition is 4" in gone["detail"]


async def test_a_rewind_says_how_much_is_left(served: Served, kafka_settings: KafkaSettings, raw: str) -> None:
    await World(served.parts.engine).context(job="daily", type="daemon", group=f"daily-{raw}")
    await processed(kafka_settings, f"daily-{raw}", raw, 5)
    delete(kafka_settings, raw, before=3)
    asked = since(55, target=raw)
    refused = (await served.admin.post("/rewinds/preview", json=asked)).json()
    oldest = f"{NOW - 40 * MINUTE:%Y-%m-%d %H:%M:%S}"
    assert f"{raw} keeps what was sent since {oldest} UTC; older messages have been deleted: 2 of" in refused["detail"]
    assert refused["left"] == 2
    (preview,) = (await served.admin.post("/rewinds/preview", json=asked | {"partly": True})).json()["items"]
    assert preview["parts"] == [{"topic": raw, "partition": 0, "from": 3, "to": 5, "position": 3}]
    delete(kafka_settings, raw, before=6)
    nothing = (await served.admin.post("/rewinds/preview", json=asked | {"partly": True})).json()
    assert f"{raw} keeps no message any more" in nothing["detail"]


async def test_a_replay_copies_what_is_left_and_says_so_by_either_way(
    served: Served, kafka_settings: KafkaSettings, raw: str
) -> None:
    source = KafkaSource(Confluent(kafka_settings.kafka_bootstrap_servers))

    async def answered() -> bool:
        return (await served.admin.get(f"/data/topics/{raw}/extent")).status_code == 200

    async def told(minutes: float) -> tuple[bool, bool]:
        start = NOW - minutes * MINUTE
        found = (await served.admin.get(f"/data/topics/{raw}/extent", params={"since": start.isoformat()})).json()
        return found["expired"], source.extent(raw, since=start, until=None).expired

    await eventually(answered, what="the new topic's leaders")
    assert await told(55) == (False, False)
    delete(kafka_settings, raw, before=3)
    assert await told(55) == (True, True)
    assert await told(35) == (False, False)
    shelf = Shelf()
    (tally,) = replay(
        source, shelf, [raw], since=NOW - 55 * MINUTE, until=None, rate=None, told=lambda tally: None
    )  # fmt: skip
    assert (tally.copied, tally.expired, [record.offset for record in shelf.copied]) == (3, True, [3, 4, 5])
    with pytest.raises(ReplayRefused, match=f"{raw} keeps nothing of that time any more"):
        replay(
            source, shelf, [raw], since=NOW - 55 * MINUTE, until=NOW - timedelta(minutes=45), rate=None,
            told=lambda tally: None,
        )  # fmt: skip
