"""Every client of Kirby puts a key into the same partition: ours, aiokafka's and confluent's."""

import random
from collections.abc import Callable

from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Producer
from kirby_common.kafka import KafkaTopicAdmin
from kirby_common.murmur2 import murmur2, partition_for
from kirby_common.settings import KafkaSettings
from kirby_common.topics import TopicSpec

PARTITIONS = 7
_RANDOM = random.Random(1)
KEYS = [b"", b"a", b"\0", b"21", b"foobar", "clé-🔑".encode(), *(_RANDOM.randbytes(n) for n in range(1, 200))]


def test_murmur2_is_the_one_of_the_java_client() -> None:
    # From the Java client's own tests, as unsigned values without the sign bit.
    for text, signed in ((b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)):
        assert murmur2(text) == signed & 0x7FFFFFFF


def test_aiokafka_agrees() -> None:
    partitioner = DefaultPartitioner()
    everywhere = list(range(PARTITIONS))
    for key in KEYS:
        assert partitioner(key, everywhere, everywhere) == partition_for(key, PARTITIONS), key


async def test_confluent_agrees_when_it_is_told_to(
    kafka_settings: KafkaSettings, unique_name: Callable[[str], str]
) -> None:
    topic = unique_name("partitioner")
    await KafkaTopicAdmin(kafka_settings).ensure([TopicSpec(topic, "key", (), (), (), partitions=PARTITIONS)])
    found: dict[bytes | None, int | None] = {}
    producer = Producer(
        {"bootstrap.servers": kafka_settings.kafka_bootstrap_servers, "partitioner": "murmur2_random", "linger.ms": 1}
    )
    # librdkafka takes an empty key for no key, and then for any partition.
    keys = [key for key in KEYS if key]
    for key in keys:
        producer.produce(topic, key=key, value=b"", on_delivery=lambda _, m: found.update({m.key(): m.partition()}))
    assert producer.flush(20) == 0
    assert found == {key: partition_for(key, PARTITIONS) for key in keys}
