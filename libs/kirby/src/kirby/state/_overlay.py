"""A State in a shadow rewind: what is set goes to a log of the shadow's, and a key that was not set there is as it is
in the original now. Versions of what was set begin with 1.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta

from kirby.shadowing import names
from kirby.state._past import past
from kirby.state._replica import Replica, Seen
from kirby.state.errors import StateAbsent, StateConflict
from kirby.state.records import LOG_CONFIG, Mutation, log_topic
from kirby.transport import Transport


def overlay(
    name: str,
    *,
    shadow: str,
    prefix: str,
    way: Transport,
    create: bool,
    partitions: int,
    on_seen: Callable[[Seen], None],
    fresh_within: timedelta | None,
) -> Replica:
    """The overlay's copy, not started yet; its log is made when it is absent, and the original's never is.

    Raises StateAbsent.
    """
    admin, original = way.admin(), log_topic(name, prefix=prefix)
    there = admin.partitions(original)
    if there is None and not create:
        raise StateAbsent(name, original)
    base = None
    if there is not None:
        base = Replica(name, prefix=prefix, way=way, on_seen=lambda seen: None, fresh_within=fresh_within)
    topic = names.states(shadow, prefix=prefix) + name
    if admin.partitions(topic) is None:
        admin.create(topic, partitions=there or partitions, config=LOG_CONFIG)
    return Replica(
        name, prefix=prefix, way=way, on_seen=on_seen, fresh_within=fresh_within, topic=topic, base=base
    )  # fmt: skip


def pasts(way: Transport, replica: Replica, key: str) -> Iterator[tuple[Mutation, int, int]]:
    """As `past`; of an overlay first what lies under it."""
    if replica.base is not None:
        yield from past(way, replica.base.topic, key, partitions=replica.base.partitions)
    yield from past(way, replica.topic, key, partitions=replica.partitions)


def expected(replica: Replica, key: str, expect: int | None) -> int | None:
    """What a mutation has to expect of the log that it goes to. Raises StateConflict where the original decides."""
    if expect is None or replica.base is None or replica.row(key) is not None:
        return expect
    row = replica.base.row(key)
    version = 0 if row is None else row.memory.version
    if expect != version:
        raise StateConflict(replica.name, key, expected=expect, version=version)
    return 0
