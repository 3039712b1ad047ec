"""The service reads Kirby's own topics, to which other tests' services write, too: it gets a broker of its own."""

import pytest
from kirby.dev.kafka import KafkaPart
from kirby_common.settings import KafkaSettings


@pytest.fixture(scope="module")
def kafka_bootstrap(own_kafka: KafkaPart) -> str:
    return own_kafka.bootstrap


@pytest.fixture(scope="module")
def kafka_settings(kafka_bootstrap: str) -> KafkaSettings:
    return KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap)
