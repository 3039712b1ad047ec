"""Where a topic lies: the names that the environment gives it, here and in another environment."""

import os
import re
from dataclasses import dataclass

from kirby import _kafka, transport
from kirby.transport import Transport


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
    """The consumer group, with the environment's prefix; None outside Kirby when the script names none."""
    name = given or os.environ.get("KIRBY_GROUP")
    if name:
        return _kafka.prefix() + name
    job, env = os.environ.get("KIRBY_JOB"), os.environ.get("KIRBY_ENV")
    return f"{job}@{env}" if job and env else None
