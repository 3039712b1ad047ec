"""The consumer group on a real broker."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from kirby.dev.parts import free_port
from kirby_common.consumer import Batch, DeadLetters, GroupConsumer, Processor
from kirby_common.kafka import KafkaBus, KafkaTail, KafkaTopicAdmin
from kirby_common.messages import Envelope, MarkMissed, MarkMissedV1, MessageRefusedV1, decode, encode
from kirby_common.ports import Start
from kirby_common.settings import KafkaSettings
from kirby_common.topics import DEAD_LETTERS, TopicSpec, registry

from tests.eventually import eventually

LARGE = {"max.message.bytes": "10485760"}


class Collector:
    def __init__(self) -> None:
        self.subjects: list[str] = []

    async def __call__(self, batch: Batch[Envelope]) -> None:
        for received in batch.received:
            assert isinstance(received.message, MarkMissedV1)
            self.subjects.append(received.message.data.subject)


def mark(subject: str) -> bytes:
    return encode(MarkMissedV1(source="test", data=MarkMissed(subject=subject, reason="r")))


@pytest.fixture
async def topic(kafka_settings: KafkaSettings, unique_name: Callable[[str], str]) -> str:
    spec = TopicSpec(unique_name("marks"), "subject", (), (), (), partitions=2, extra=LARGE)
    await KafkaTopicAdmin(kafka_settings).ensure([spec, *registry()])
    return spec.name


@pytest.fixture
async def bus(kafka_settings: KafkaSettings) -> AsyncIterator[KafkaBus]:
    async with KafkaBus(kafka_settings, max_bytes=8_000_000) as bus:
        yield bus


@asynccontextmanager
async def consuming(settings: KafkaSettings, *, topic: str, bus: KafkaBus, handle: Collector) -> AsyncIterator[None]:
    """A member of the topic's group, stopped politely."""
    stop = asyncio.Event()
    processor = Processor(
        decode=lambda record: decode(record.value), handle=handle, dead_letters=DeadLetters(bus, service="test")
    )
    consumer = GroupConsumer(settings, group=f"group-{topic}", topics=[topic], processor=processor, poll_ms=50)
    running = asyncio.create_task(consumer.run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


async def test_what_was_handled_is_not_read_again(kafka_settings: KafkaSettings, topic: str, bus: KafkaBus) -> None:
    first, second = Collector(), Collector()
    for n in range(5):
        await bus.send(topic, key=b"%d" % n, value=mark(f"{n}"))
    async with consuming(kafka_settings, topic=topic, bus=bus, handle=first):
        await eventually(lambda: len(first.subjects) == 5)
    await bus.send(topic, key=b"x", value=mark("new"))
    async with consuming(kafka_settings, topic=topic, bus=bus, handle=second):
        await eventually(lambda: second.subjects == ["new"])
    assert sorted(first.subjects) == ["0", "1", "2", "3", "4"]


async def test_bad_messages_go_to_the_dead_letters_and_it_goes_on(
    kafka_settings: KafkaSettings, topic: str, bus: KafkaBus
) -> None:
    bad = [b"not JSON", mark("x").replace(b"mark.missed.v1", b"mark.missed.v99"), mark("y" * 5_000_000), None, b"[]"]
    handle = Collector()
    for value in (mark("before"), *bad, mark("after")):
        await bus.send(topic, key=b"one partition", value=value)
    async with consuming(kafka_settings, topic=topic, bus=bus, handle=handle):
        await eventually(lambda: handle.subjects == ["before", "after"])

    reasons = []
    async for records in KafkaTail(kafka_settings).records([DEAD_LETTERS], start=Start(at="beginning")):
        for message in (decode(record.value) for record in records):
            if isinstance(message, MessageRefusedV1) and message.data.topic == topic:
                reasons.append(message.data.reason)
        if len(reasons) == len(bad):
            break
    assert reasons[0].startswith("not a Kirby message: Invalid JSON")
    assert "mark.missed.v99" in reasons[1]
    assert "bytes, more than" in reasons[2]
    assert reasons[3] == "the message has no value"


async def test_without_a_broker_it_waits_says_so_and_can_be_stopped(bus: KafkaBus) -> None:
    away = KafkaSettings(kafka_bootstrap_servers=f"127.0.0.1:{free_port()}")
    stop = asyncio.Event()
    processor = Processor(
        decode=lambda record: decode(record.value), handle=Collector(), dead_letters=DeadLetters(bus, service="test")
    )
    consumer = GroupConsumer(away, group="g", topics=["t"], processor=processor)
    running = asyncio.create_task(consumer.run(stop))

    async def told() -> bool:
        return "can't be reached" in (await consumer.problem() or "")

    await eventually(told)
    assert not running.done()
    stop.set()
    async with asyncio.timeout(30):
        await running
