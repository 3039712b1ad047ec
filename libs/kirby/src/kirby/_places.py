"""Where a topic lies: the names that the environment gives it, here and in another environment."""

import os
import re
from dataclasses import dataclass

from kirby import _kafka, transport
from kirby.errors import KirbyError
from kirby.shadowing import names
from kirby.transport import TopicAdmin, Transport


@dataclass(frozen=True)
class Place:
    """A topic's full name, the way to its cluster, and the other environment's name ("" for one's own)."""

    name: str
    way: Transport
    origin: str = ""


def locate(name: str, *, env: str | None) -> Place:
    """The topic `name` of this environment, or of `env`.

    Another environment's prefix is `<env>.` (none for `prod`), its cluster this one's, unless the variables
    `KIRBY_TOPIC_PREFIX_<ENV>` and `KAFKA_BOOTSTRAP_SERVERS_<ENV>` say otherwise.
    """
    if env is None or env == os.environ.get("KIRBY_ENV"):
        return Place(_kafka.prefix() + name, transport.current())
    suffix = re.sub(r"\W", "_", env).upper()
    prefix = os.environ.get(f"KIRBY_TOPIC_PREFIX_{suffix}", "" if env == "prod" else f"{env}.")
    servers = os.environ.get(f"KAFKA_BOOTSTRAP_SERVERS_{suffix}")
    way = transport.current()
    return Place(prefix + name, way.at(servers) if servers else way, origin=env)


def group_name(given: str | None) -> str | None:
    """The consumer group, with the environment's prefix; None outside Kirby when the script names none.

    In a shadow rewind it is one of its own.
    """
    live = _live_group(given)
    shadow = names.current()
    return live if live is None or shadow is None else names.group_of(live, shadow)


def _live_group(given: str | None) -> str | None:
    name = given or os.environ.get("KIRBY_GROUP")
    if name:
        return _kafka.prefix() + name
    job, env = os.environ.get("KIRBY_JOB"), os.environ.get("KIRBY_ENV")
    return f"{job}@{env}" if job and env else None


def written(name: str) -> str:
    """The topic that what is sent to `name` goes to: itself, or in a shadow rewind the one beside it."""
    shadow = names.current()
    return name if shadow is None else names.topic_of(name, shadow, prefix=_kafka.prefix())


def make_beside(admin: TopicAdmin, name: str, *, partitions: int) -> None:
    """Make the topic that a shadow rewind writes in place of `name`, unless it is there. Raises KirbyError."""
    beside = written(name)
    if len(beside) > names.LONGEST_TOPIC:
        raise KirbyError(f"{name!r} has too long a name for a shadow rewind: {beside!r} can't be a topic")
    if admin.partitions(beside) is None:
        largest = admin.config(name).get("max.message.bytes")
        config = {"retention.ms": "-1"} | ({"max.message.bytes": largest} if largest else {})
        admin.create(beside, partitions=partitions, config=config)
