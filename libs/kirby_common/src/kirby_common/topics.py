"""Every Kafka topic of Kirby: name, key, messages, partitions, retention, who writes and who reads.

Topic creation, the documentation and the schema snapshots are all made from `registry`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

DEFAULT_OFFERS_PREFIX = ".kirby.job-offers"
RUN_EVENTS = ".kirby.run-events"
LOGS = ".kirby.logs"
CONFIG = ".kirby.config"
ALERTS = ".kirby.alerts"
LINEAGE = ".kirby.lineage"
DEAD_LETTERS = ".kirby.dead-letters"


@dataclass(frozen=True)
class TopicSpec:
    name: str
    key: str
    messages: tuple[str, ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    partitions: int = 4
    cleanup: Literal["delete", "compact"] = "delete"
    retention: timedelta | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    def configs(self) -> dict[str, str]:
        """The broker's settings for the topic, as the admin client takes them.

        Records bear the broker's time: one dated by a host whose clock is an hour ahead would be refused, and what is
        kept for how long must not hang on the clocks of hosts.
        """
        retention = -1 if self.retention is None else round(self.retention.total_seconds() * 1000)
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(retention),
            "message.timestamp.type": "LogAppendTime",
            **self.extra,
        }


def scheduled_offers(prefix: str = DEFAULT_OFFERS_PREFIX) -> str:
    return f"{prefix}.scheduled"


def daemon_offers(prefix: str = DEFAULT_OFFERS_PREFIX) -> str:
    return f"{prefix}.daemon"


def registry(
    *, offers_prefix: str = DEFAULT_OFFERS_PREFIX, log_retention: timedelta = timedelta(days=14)
) -> tuple[TopicSpec, ...]:
    """All topics, with the names that depend on settings filled in."""
    offer = ("run.offer.v1",)
    return (
        TopicSpec(
            scheduled_offers(offers_prefix),
            "run id",
            offer,
            ("scheduler", "api"),
            ("worker",),
            retention=timedelta(days=1),
        ),
        TopicSpec(
            daemon_offers(offers_prefix),
            "run id",
            offer,
            ("scheduler", "api"),
            ("worker",),
            retention=timedelta(days=1),
        ),
        TopicSpec(
            RUN_EVENTS,
            "run id",
            ("run.changed.v1",),
            ("scheduler", "api"),
            ("api", "notifier"),
            retention=timedelta(days=7),
        ),
        TopicSpec(
            LOGS,
            "run id",
            ("log chunks (binary, see kirby_common.logchunks)",),
            ("worker",),
            ("api",),
            retention=log_retention,
            extra={"max.message.bytes": "2097152"},
        ),
        TopicSpec(
            CONFIG,
            "kind/id",
            ("config.entity.v1",),
            ("api",),
            ("notifier", "vault"),
            partitions=1,
            cleanup="compact",
        ),
        TopicSpec(
            ALERTS,
            "subject",
            ("mark.missed.v1", "mark.recovered.v1"),
            ("scheduler", "api"),
            ("notifier",),
            partitions=1,
            retention=timedelta(days=7),
        ),
        TopicSpec(
            LINEAGE,
            "process or trace",
            ("process.announced.v1", "inputs.joined.v1", "process.touched.v1"),
            ("scripts",),
            ("api",),
            retention=timedelta(days=90),
        ),
        TopicSpec(
            DEAD_LETTERS,
            "origin topic",
            ("message.refused.v1",),
            ("api", "worker", "notifier", "vault"),
            ("api",),
            partitions=1,
            retention=timedelta(days=14),
            extra={"max.message.bytes": "2097152"},
        ),
    )
