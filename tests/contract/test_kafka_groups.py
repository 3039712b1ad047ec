"""Moving a consumer group, on the real Kafka."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from kirby.rewinding import Mark
from kirby_common.kafka import KafkaTopicAdmin, confluent_options
from kirby_common.kafka_groups import KafkaGroups
from kirby_common.ports import Bounds, BusUnavailable, Commit, GroupInUse
from kirby_common.settings import KafkaSettings
from kirby_common.topics import TopicSpec

from tests.contract.test_kafka_offsets import write
from tests.eventually import eventually

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def topic(kafka_settings: KafkaSettings, unique_name: Callable[[str], str]) -> str:
    name = unique_name("moved")
    await KafkaTopicAdmin(kafka_settings).ensure(
        [TopicSpec(name, "", (), (), (), partitions=2, extra={"message.timestamp.type": "CreateTime"})]
    )
    return name


@pytest.fixture
def groups(kafka_settings: KafkaSettings) -> KafkaGroups:
    return KafkaGroups(kafka_settings)


async def test_a_group_with_members_is_moved_only_once_they_have_left(
    kafka_settings: KafkaSettings, groups: KafkaGroups, topic: str
) -> None:
    write(kafka_settings, topic, 5)
    moved = {(topic, 0): Commit(2, Mark("r1", 4, 5).text())}
    options = {"group.id": topic, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    consumer = Consumer(confluent_options(kafka_settings) | options | {"group.instance.id": f"{topic}.0.x"})
    consumer.subscribe([topic])
    assert consumer.poll(60) is not None
    consumer.commit(asynchronous=False)
    with pytest.raises(GroupInUse):
        await groups.commit(topic, moved)
    consumer.close()
    (member,) = (await groups.look([topic]))[topic].members
    assert member.id.startswith(f"{topic}.0.x-"), "a static member stays when it ends"
    await groups.remove(topic, [f"{topic}.0.x"])
    await groups.commit(topic, moved)
    look = (await groups.look([topic]))[topic]
    assert (dict(look.commits), tuple(look.members)) == (moved, ())


async def test_a_group_that_there_is_not_has_nothing(groups: KafkaGroups, topic: str) -> None:
    async def nothing() -> bool:
        look = (await groups.look([topic]))[topic]
        return not look.commits and not look.members

    await eventually(nothing, timeout=60, what="an answer of the coordinator, which a fresh broker makes first")


async def test_where_times_lie(kafka_settings: KafkaSettings, groups: KafkaGroups, topic: str) -> None:
    for minutes in range(3):
        write(kafka_settings, topic, 2, at=NOON + minutes * MINUTE)
    found = await groups.bounds([(topic, 0), (topic, 1)], start=NOON + 0.5 * MINUTE, end=NOON + 2 * MINUTE)
    assert found == {
        (topic, 0): Bounds(low=0, high=6, first=2, oldest_at=NOON, until=4),
        (topic, 1): Bounds(low=0, high=0, first=None, oldest_at=None, until=0),
    }
    late = await groups.bounds([(topic, 0)], start=NOON + 5 * MINUTE)
    assert (late[topic, 0].first, late[topic, 0].until) == (None, 6)


async def test_what_lies_before_the_end_may_be_nothing_but_marks(
    kafka_settings: KafkaSettings, groups: KafkaGroups, topic: str
) -> None:
    write(kafka_settings, topic, 3, txn=topic)

    async def marked() -> bool:
        return (await groups.bounds([(topic, 0)], start=NOON))[topic, 0].high == 4

    await eventually(marked, what="the mark, which the broker writes after it has answered")
    write(kafka_settings, topic, 1)
    assert await groups.passed({(topic, 0): (3, 4)}) == {(topic, 0)}
    assert await groups.passed({(topic, 0): (2, 4)}) == set()
    assert await groups.passed({(topic, 0): (4, 5)}) == set()


async def test_a_group_and_its_topics_are_forgotten_once_it_has_no_members(
    kafka_settings: KafkaSettings, groups: KafkaGroups, topic: str
) -> None:
    write(kafka_settings, topic, 5)
    options = {"group.id": topic, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    consumer = Consumer(confluent_options(kafka_settings) | options)
    consumer.subscribe([topic])
    assert consumer.poll(60) is not None
    consumer.commit(asynchronous=False)
    with pytest.raises(GroupInUse):
        await groups.forget(topic, lambda name: name == topic)
    assert topic in AdminClient(confluent_options(kafka_settings)).list_topics(timeout=30).topics
    consumer.close()
    for _ in range(2):
        await groups.forget(topic, lambda name: name == topic)
    assert not (await groups.look([topic]))[topic].commits

    async def gone() -> bool:
        return topic not in AdminClient(confluent_options(kafka_settings)).list_topics(timeout=30).topics

    await eventually(gone, what="the topic's deletion")


async def test_an_absent_kafka_is_told(kafka_settings: KafkaSettings) -> None:
    away = KafkaGroups(kafka_settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:9"}), timeout_s=2)
    with pytest.raises(BusUnavailable, match=r"Kafka at 127\.0\.0\.1:9"):
        await away.look(["nobody"])
