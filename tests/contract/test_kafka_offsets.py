"""How far groups have read and how fresh topics are, on the real Kafka."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from kirby_common.kafka import KafkaTopicAdmin, confluent_options
from kirby_common.kafka_offsets import KafkaOffsets
from kirby_common.ports import BusUnavailable, GroupPosition
from kirby_common.settings import KafkaSettings
from kirby_common.topics import TopicSpec

from tests.eventually import eventually


@pytest.fixture
async def topic(kafka_settings: KafkaSettings, unique_name: Callable[[str], str]) -> str:
    name = unique_name("watched")
    await KafkaTopicAdmin(kafka_settings).ensure(
        [TopicSpec(name, "", (), (), (), partitions=2, extra={"message.timestamp.type": "CreateTime"})]
    )
    return name


@pytest.fixture
def offsets(kafka_settings: KafkaSettings) -> KafkaOffsets:
    return KafkaOffsets(kafka_settings)


@contextmanager
def member(settings: KafkaSettings, group: str) -> Iterator[Consumer]:
    options = {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    consumer = Consumer(confluent_options(settings) | options)
    yield consumer
    consumer.close()


def write(
    settings: KafkaSettings, topic: str, count: int, *, at: datetime | None = None, txn: str | None = None
) -> None:
    producer = Producer(confluent_options(settings) | ({} if txn is None else {"transactional.id": txn}))
    if txn is not None:
        producer.init_transactions(30)
        producer.begin_transaction()
    ms = round((at or datetime.now(UTC)).timestamp() * 1000)
    for n in range(count):
        producer.produce(topic, str(n), partition=0, timestamp=ms)
    if txn is not None:
        producer.commit_transaction(30)
    producer.flush(30)


async def test_lag_by_commits_and_by_what_members_hold(
    kafka_settings: KafkaSettings, offsets: KafkaOffsets, topic: str
) -> None:
    async def lag() -> int | None:
        position = await offsets.group(topic)
        return None if position is None else position.lag

    async def nobody() -> bool:
        return await offsets.group(topic) is None

    await eventually(nobody, timeout=60, what="an answer of the coordinator, which a fresh broker makes first")
    write(kafka_settings, topic, 5)
    with member(kafka_settings, topic) as consumer:
        consumer.subscribe([topic])
        assert consumer.poll(60) is not None
        await eventually(lag, what="a member without a commit, with all that waits")
        assert await lag() == 5
        consumer.commit(offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
        assert await offsets.group(topic) == GroupPosition({f"{topic}:0": 2, f"{topic}:1": 0}, 3)
        consumer.commit(offsets=[TopicPartition(topic, 0, 5)], asynchronous=False)
        assert await lag() == 0


async def test_the_mark_of_a_transaction_is_nothing_that_waits(
    kafka_settings: KafkaSettings, offsets: KafkaOffsets, topic: str
) -> None:
    write(kafka_settings, topic, 3, txn=topic)
    with member(kafka_settings, topic) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        for committed, lag in ((2, 2), (3, 0)):
            consumer.commit(offsets=[TopicPartition(topic, 0, committed)], asynchronous=False)
            assert await offsets.group(topic) == GroupPosition({f"{topic}:0": committed}, lag)


async def test_the_newest_message(kafka_settings: KafkaSettings, offsets: KafkaOffsets, topic: str) -> None:

    async def empty() -> bool:
        try:
            return await offsets.newest([topic, f"{topic}-absent"]) == {topic: None}
        except BusUnavailable:
            return False

    await eventually(empty, what="the partitions' leaders, which a new topic gets first")
    hour_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    write(kafka_settings, topic, 2, at=hour_ago)
    assert await offsets.newest([topic]) == {topic: hour_ago}


async def test_a_broker_that_is_away() -> None:
    away = KafkaOffsets(KafkaSettings(kafka_bootstrap_servers="127.0.0.1:1"), timeout_s=1)
    with pytest.raises(BusUnavailable):
        await away.group("g")
    with pytest.raises(BusUnavailable):
        await away.newest(["t"])
