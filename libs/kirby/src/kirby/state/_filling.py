"""Bringing an owner's local store up to an offset of the log: from `.latest` where it is new, then by the rule."""

from collections.abc import Iterator
from dataclasses import dataclass

from kirby.state._rows import fold_row
from kirby.state._store import Store
from kirby.state._stretch import ends_of, stretch
from kirby.state.errors import StateStopped
from kirby.state.records import (
    POSITION_KEY,
    BadRecord,
    Latest,
    UnknownRule,
    decode_latest,
    decode_mutation,
    decode_position,
    encode_latest,
    latest_topic,
    log_topic,
)
from kirby.transport import BEGINNING, Receiver, Record, Transport

_TOGETHER = 20_000


@dataclass(frozen=True, slots=True)
class Log:
    """A State's log, as its owner knows it."""

    name: str
    prefix: str
    partitions: int
    way: Transport

    @property
    def topic(self) -> str:
        return log_topic(self.name, prefix=self.prefix)


def fill(store: Store, log: Log, number: int, *, upto: int) -> None:
    """Fold into the store what the partition has below `upto`; waits for what is still open there.

    A store that is ahead of the log is of another one, and made anew. Raises StateStopped, StoreCorrupt,
    KafkaUnavailable.
    """
    receiver = log.way.receiver(group=None)
    try:
        if store.applied is not None and store.applied > upto:
            store.clear()
        if store.applied is None:
            _from_latest(store, receiver, log, number, upto=upto)
        if store.applied is None or store.applied < upto:
            _from_log(store, receiver, log, number, upto=upto)
    except UnknownRule as error:
        raise StateStopped(log.name, str(error)) from error
    finally:
        receiver.close()


def _from_latest(store: Store, receiver: Receiver, log: Log, number: int, *, upto: int) -> None:
    """As far as it is told. What is not told is in the log; so is everything when there is no such topic."""
    topic = latest_topic(log.name, prefix=log.prefix)
    if log.way.admin().partitions(topic) != log.partitions:
        return
    position: int | None = None
    rows: dict[str, bytes] = {}
    ends = {number: ends_of(receiver, topic, partitions=log.partitions)[number]}
    for record in stretch(receiver, topic, {number: BEGINNING}, ends):
        try:
            if record.key() == POSITION_KEY:
                position = decode_position(record.value())
            elif record.value() is not None:
                rows[record.key().decode()] = record.value()
        except BadRecord:
            continue
        if len(rows) >= _TOGETHER:
            store.save(rows.items(), applied=None)
            rows.clear()
    if position is None or position > upto:
        store.clear()
    else:
        store.save(rows.items(), applied=position)


def _from_log(store: Store, receiver: Receiver, log: Log, number: int, *, upto: int) -> None:
    rows: dict[str, Latest] = {}
    begin = BEGINNING if store.applied is None else store.applied
    for read, record in enumerate(stretch(receiver, log.topic, {number: begin}, {number: upto}), start=1):
        _fold(rows, store, log, record)
        if read % _TOGETHER == 0:
            store.save(_encoded(rows), applied=record.offset() + 1)
            rows.clear()
    store.save(_encoded(rows), applied=upto)


def _fold(rows: dict[str, Latest], store: Store, log: Log, record: Record) -> None:
    try:
        mutation = decode_mutation(record.key(), record.value())
    except BadRecord:
        return
    if mutation.of != log.partitions:
        raise changed(log, mutation.of)
    before = rows.get(mutation.key)
    if before is None:
        kept = store.get(mutation.key)
        before = None if kept is None else decode_latest(kept)
    offset = record.offset()
    if before is not None and offset <= before.memory.offset:
        return
    rows[mutation.key], _ = fold_row(before, mutation, offset=offset, at_ms=record.timestamp()[1])


def changed(log: Log, of: int) -> StateStopped:
    """Its log has another number of partitions than somebody knew."""
    return StateStopped(log.name, f"its topic has {log.partitions} partitions, and a writer knew {of}")


def _encoded(rows: dict[str, Latest]) -> Iterator[tuple[str, bytes]]:
    return ((key, encode_latest(row)) for key, row in rows.items())
