"""How scripts reach Kafka: librdkafka's options, from the variables that the user guide names."""

import os

from kirby.errors import BadVariable

Options = dict[str, str | int | float | bool]

TRANSACTION_MS = 10_000

_FILES = (
    ("KAFKA_SSL_CAFILE", "ssl.ca.location"),
    ("KAFKA_SSL_CERTFILE", "ssl.certificate.location"),
    ("KAFKA_SSL_KEYFILE", "ssl.key.location"),
)


def servers() -> str:
    return os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or "127.0.0.1:9092"


def prefix() -> str:
    """What the environment puts before the names of topics and groups."""
    return os.environ.get("KIRBY_TOPIC_PREFIX", "")


def client_options() -> Options:
    """The options of every client."""
    options: Options = {
        "bootstrap.servers": servers(),
        "client.id": os.environ.get("KIRBY_JOB", "kirby-script"),
        "log_level": 2,
        "topic.metadata.refresh.interval.ms": 60_000,
        "reconnect.backoff.max.ms": 2_000,
    }
    if os.environ.get("KAFKA_USE_SSL", "").strip().lower() in {"1", "true", "yes", "on"}:
        options["security.protocol"] = "ssl"
        options |= {option: os.environ[name] for name, option in _FILES if os.environ.get(name)}
    return options


def producer_options(*, transactional_id: str | None = None) -> Options:
    """Idempotent, ordered, partitioned as every other Kafka client does, and bounded in memory and in patience."""
    options = client_options() | {
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": 5,
        "queue.buffering.max.kbytes": 65_536,
        "queue.buffering.max.messages": 200_000,
        "message.max.bytes": 1_000_000,
        "message.timeout.ms": round(seconds("KIRBY_DELIVERY_TIMEOUT", 300.0) * 1000),
        "delivery.report.only.error": True,
    }
    if transactional_id is not None:
        options |= {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": TRANSACTION_MS,
            "message.timeout.ms": TRANSACTION_MS,
        }
    return options


def consumer_options(*, group: str, start: str, member: str | None = None) -> Options:
    """Offsets are committed by the SDK alone; a long handler does not lose its partitions."""
    options = client_options() | {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": start,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": round(seconds("KIRBY_SESSION_TIMEOUT", 45.0) * 1000),
        "max.poll.interval.ms": 1_800_000,
        "fetch.wait.max.ms": 100,
        "queued.max.messages.kbytes": 16_384,
        "fetch.queue.backoff.ms": 10,
    }
    return options | {"group.instance.id": member} if member else options


def seconds(name: str, default: float) -> float:
    """A variable of so many seconds. Raises BadVariable."""
    text = os.environ.get(name)
    try:
        return float(text) if text else default
    except ValueError:
        raise BadVariable(name, "number of seconds") from None
