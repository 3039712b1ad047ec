"""Promotion: what a shadow made becomes part of the originals, exactly once whoever is killed meanwhile."""

from collections.abc import Callable

from kirby import lineage
from kirby.errors import KirbyError
from kirby.replaying.copying import Tally, replay
from kirby.replaying.kafka import KafkaTarget
from kirby.replaying.ports import Copied
from kirby.shadowing.shadow import Shadow
from kirby.state._replica import Replica
from kirby.state._writer import Pending, Writing, judged
from kirby.state.records import LOG_CONFIG, commands_topic, log_topic
from kirby.state.rule import Op, Writer

_TOGETHER = 500
_PATIENCE_S = 60.0


class NotPromoted(KirbyError):
    """The shadow can't be promoted as it is; nothing was changed. The text says what to do."""


class Promotion(KafkaTarget):
    """The originals, which get the shadow's messages as they are: they bear the flag of a re-run, and tell in their
    last hop from what they were made. How far it is stands in the transaction that writes them."""

    def _header(self, record: Copied, known: bytes) -> bytes:
        return known if lineage.is_rerun(known) else super()._header(record, known)


def promote(shadow: Shadow, *, rewind: str, told: Callable[[str], None]) -> None:
    """Append what the shadow sent to the topics, and set what it set in the States.

    Called again after it was killed, it goes on where it was. Raises NotPromoted, KafkaUnavailable.
    """
    written = [name for name in shadow.topics() if _has_records(shadow, name)]
    for name in written:
        _refuse_other_width(shadow, name)
    target = Promotion(shadow.way, prefix=shadow.prefix, origin="")
    try:
        for name in written:
            (tally,) = replay(
                shadow.source(), target, [name], since=None, until=None, rate=None, told=_nobody
            )  # fmt: skip
            told(f"{shadow.prefix}{name}: {tally.copied} messages, {tally.before} offsets had been promoted before")
    finally:
        target.close()
    for state in shadow.states():
        told(f"State {state}: {_set_all(shadow, state, rewind)} keys")


def _has_records(shadow: Shadow, name: str) -> bool:
    extent = shadow.source().extent(name, since=None, until=None)
    return any(begin < end for begin, end in extent.spans.values())


def _refuse_other_width(shadow: Shadow, name: str) -> None:
    admin = shadow.way.admin()
    original, beside = admin.partitions(shadow.prefix + name), admin.partitions(shadow.source().topic(name))
    if original not in (None, beside):
        raise NotPromoted(
            f"the topic {shadow.prefix}{name} has {original} partitions by now and had {beside}, so that messages of"
            " one key would be in two: drop this shadow, and rewind again"
        )


def _set_all(shadow: Shadow, state: str, rewind: str) -> int:
    """The newest value of each key that the shadow set, unless the State has it. Returns how many there were to set.

    They are numbered by the order of the keys, under a writer that is named after the rewind: so a State takes each
    only once, who does it again or not.
    """
    admin, log = shadow.way.admin(), log_topic(state, prefix=shadow.prefix)
    if admin.partitions(log) is None:
        overlay = shadow.replica(state)
        overlay.close()
        admin.create(log, partitions=overlay.partitions, config=LOG_CONFIG)
    overlay = shadow.replica(state)
    base = overlay.base
    assert base is not None
    commands = commands_topic(state, prefix=shadow.prefix)
    owned = admin.partitions(commands) is not None
    writing = Writing(base, way=shadow.way, patience_s=_PATIENCE_S, commands=commands if owned else None)
    writing.writer = Writer("", 0, f"shadow-{rewind}")
    base.hear(writing.seen)
    try:
        return _set_each(overlay, base, writing)
    finally:
        overlay.close()
        writing.close()


def _set_each(overlay: Replica, base: Replica, writing: Writing) -> int:
    under_way: list[Pending] = []
    count = 0
    for number, key in enumerate(sorted(overlay.rows), start=1):
        mine, theirs = overlay.row(key), base.row(key)
        value = None if mine is None else mine.value
        if value == (None if theirs is None else theirs.value):
            continue
        op = Op.DELETE if value is None else Op.SET
        under_way.append(writing.append(key, op, value=value, rerun=True, n=number))
        count += 1
        if len(under_way) >= _TOGETHER:
            _await(under_way, base.name, writing)
    _await(under_way, base.name, writing)
    return count


def _await(under_way: list[Pending], state: str, writing: Writing) -> None:
    for pending in under_way:
        judged(state, pending.key, None, writing.result(pending))
    under_way.clear()


def _nobody(tally: Tally) -> None:
    """It is told at the end."""
