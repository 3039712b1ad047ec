"""What `Bus`, `Tail` and `TopicAdmin` promise: one suite for the bus in memory and for Kafka."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
import pytest_asyncio
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from kirby.dev.parts import free_port
from kirby_common.kafka import KafkaBus, KafkaTail, KafkaTopicAdmin
from kirby_common.murmur2 import partition_for
from kirby_common.ports import Bus, BusUnavailable, Record, Start, Tail, TopicAdmin
from kirby_common.settings import KafkaSettings
from kirby_common.testing.bus import MemoryBus
from kirby_common.topics import TopicSpec, registry


@dataclass(frozen=True)
class Broker:
    bus: Bus
    tail: Tail
    admin: TopicAdmin


@pytest_asyncio.fixture(loop_scope="session", params=["memory", "kafka"])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    if request.param == "memory":
        memory = MemoryBus()
        yield Broker(memory, memory, memory)
        return
    settings = cast(KafkaSettings, request.getfixturevalue("kafka_settings"))
    async with KafkaBus(settings) as bus:
        yield Broker(bus, KafkaTail(settings, poll_ms=50), KafkaTopicAdmin(settings))


@pytest.fixture
async def topic(broker: Broker, unique_name: Callable[[str], str]) -> str:
    spec = TopicSpec(unique_name("bus"), "key", (), (), (), partitions=4)
    await broker.admin.ensure([spec])
    return spec.name


class Reading:
    """Reads in the background, so that reading from the end has begun before something is sent."""

    def __init__(self, tail: Tail, topics: Sequence[str], start: Start) -> None:
        self.records: list[Record] = []
        self._task = asyncio.create_task(self._read(tail, topics, start))

    async def _read(self, tail: Tail, topics: Sequence[str], start: Start) -> None:
        async with aclosing(cast(Any, tail.records(topics, start=start))) as batches:
            async for batch in batches:
                assert batch
                self.records += batch

    async def until(self, enough: Callable[[list[Record]], bool]) -> list[Record]:
        async with asyncio.timeout(60):
            while not enough(self.records):
                assert not self._task.done(), self._task.exception()
                await asyncio.sleep(0.01)
        return self.records

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def read(broker: Broker, topic: str, count: int, *, start: Start) -> list[Record]:
    reading = Reading(broker.tail, [topic], start)
    try:
        return await reading.until(lambda records: len(records) >= count)
    finally:
        await reading.stop()


BEGINNING = Start(at="beginning")


async def test_what_was_sent_is_read_with_key_value_and_headers(broker: Broker, topic: str) -> None:
    stored = await broker.bus.send(topic, key=b"k", value=b"v", headers={"h": b"1"})
    (record,) = await read(broker, topic, 1, start=BEGINNING)
    assert (record.topic, record.partition, record.offset) == (topic, stored.partition, stored.offset)
    assert (record.key, record.value, dict(record.headers)) == (b"k", b"v", {"h": b"1"})
    assert record.timestamp_ms > 1_600_000_000_000


async def test_a_value_may_be_absent(broker: Broker, topic: str) -> None:
    await broker.bus.send(topic, key=b"k", value=None)
    (record,) = await read(broker, topic, 1, start=BEGINNING)
    assert record.value is None


async def test_keys_lie_where_murmur2_puts_them(broker: Broker, topic: str) -> None:
    for n in range(20):
        key = f"key-{n}".encode()
        assert (await broker.bus.send(topic, key=key, value=b"")).partition == partition_for(key, 4)


async def test_order_holds_within_a_partition(broker: Broker, topic: str) -> None:
    for n in range(60):
        await broker.bus.send(topic, key=b"%d" % (n % 5), value=b"%d" % n)
    records = await read(broker, topic, 60, start=BEGINNING)
    for partition in range(4):
        mine = [r for r in records if r.partition == partition]
        assert [r.offset for r in mine] == list(range(len(mine)))
        assert [int(r.value or b"") for r in mine] == sorted(int(r.value or b"") for r in mine)


async def test_reading_from_offsets_begins_there_and_elsewhere_at_the_beginning(broker: Broker, topic: str) -> None:
    keys = [b"%d" % n for n in range(40)]
    stored = [await broker.bus.send(topic, key=key, value=key) for key in keys]
    partition = stored[0].partition
    skipped = 2
    total = len(keys) - skipped
    records = await read(broker, topic, total, start=Start(at="beginning", offsets={(topic, partition): skipped}))
    assert len(records) == total
    assert min(r.offset for r in records if r.partition == partition) == skipped
    assert {r.offset for r in records if r.partition != partition} >= {0}


async def test_reading_from_the_end_sees_what_comes_after(broker: Broker, topic: str) -> None:
    await broker.bus.send(topic, key=b"k", value=b"before")
    reading = Reading(broker.tail, [topic], Start(at="end"))
    try:
        # Where the end is, is known to the reader once it has seen something: send until it has.
        async with asyncio.timeout(60):
            while not reading.records:
                await broker.bus.send(topic, key=b"k", value=b"after")
                await asyncio.sleep(0.05)
        assert {r.value for r in reading.records} == {b"after"}
    finally:
        await reading.stop()


async def test_ensuring_again_keeps_topics_as_they_are(
    broker: Broker, topic: str, unique_name: Callable[[str], str]
) -> None:
    await broker.bus.send(topic, key=b"k", value=b"v")
    other = TopicSpec(unique_name("bus"), "key", (), (), (), partitions=1)
    await broker.admin.ensure([TopicSpec(topic, "key", (), (), (), partitions=9), other])
    await broker.bus.send(other.name, key=b"k", value=b"v")
    assert len(await read(broker, topic, 1, start=BEGINNING)) == 1
    assert (await broker.bus.send(topic, key=b"key-1", value=b"")).partition == partition_for(b"key-1", 4)


async def test_many_may_ensure_at_once(broker: Broker, unique_name: Callable[[str], str]) -> None:
    spec = TopicSpec(unique_name("bus"), "key", (), (), (), partitions=1)
    await asyncio.gather(*(broker.admin.ensure([spec]) for _ in range(3)))


async def test_an_absent_broker_is_said_so_in_memory() -> None:
    memory = MemoryBus()
    memory.available = False
    await says_unavailable(memory, memory)


async def test_an_absent_broker_is_said_so_by_kafka() -> None:
    away = KafkaSettings(kafka_bootstrap_servers=f"127.0.0.1:{free_port()}")
    async with KafkaBus(away) as bus:
        await says_unavailable(bus, KafkaTopicAdmin(away))


async def says_unavailable(bus: Bus, admin: TopicAdmin) -> None:
    with pytest.raises(BusUnavailable):
        await bus.send("t", key=b"k", value=b"v")
    with pytest.raises(BusUnavailable):
        await admin.ensure([TopicSpec("t", "key", (), (), ())])


async def test_the_registry_is_made_as_it_is_written(kafka_settings: KafkaSettings) -> None:
    await KafkaTopicAdmin(kafka_settings).ensure(registry())
    client = AdminClient({"bootstrap.servers": kafka_settings.kafka_bootstrap_servers})
    known = client.list_topics(timeout=10).topics
    for spec in registry():
        assert len(known[spec.name].partitions) == spec.partitions, spec.name
        resource = ConfigResource(ConfigResource.Type.TOPIC, spec.name)
        found = client.describe_configs([resource])[resource].result()
        assert {name: found[name].value for name in spec.configs()} == dict(spec.configs()), spec.name


async def test_a_host_whose_clock_is_ahead_can_write_to_every_topic(kafka_settings: KafkaSettings) -> None:
    """A broker refuses a record dated more than an hour ahead, unless it dates the topic's records by its own clock."""
    specs = [replace(spec, name=f"{spec.name}-ahead") for spec in registry()]
    await KafkaTopicAdmin(kafka_settings).ensure(specs)
    refused: list[str] = []
    producer = Producer({"bootstrap.servers": kafka_settings.kafka_bootstrap_servers})
    ahead = round((time.time() + 7200) * 1000)
    for spec in specs:
        producer.produce(
            spec.name,
            value=b"v",
            key=b"k",
            timestamp=ahead,
            on_delivery=lambda error, message: refused.append(f"{message.topic()}: {error}") if error else None,
        )
    assert producer.flush(30) == 0
    assert refused == []
