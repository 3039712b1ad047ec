"""A key's past, read from its partition of the log: there is no index in Kafka, so this takes as long as the log."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kirby._murmur2 import murmur2
from kirby.state._stretch import ends_of, stretch
from kirby.state.records import BadRecord, Mutation, decode_mutation, encode_key
from kirby.state.rule import fold
from kirby.transport import BEGINNING, Transport


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key. `value` is None where `deleted`.

    `at`: when Kafka took it, aware UTC. `by`: the job and environment, or the user. `run`: the run's id, None outside
    of runs. `inputs`: the messages it was made from, `TOPIC PARTITION:OFFSET`. `restores`: the version brought back.
    """

    key: str
    version: int
    value: Any
    deleted: bool
    at: datetime
    by: str
    run: str | None
    rerun: bool
    inputs: tuple[str, ...]
    restores: int | None


def past(way: Transport, topic: str, key: str, *, partitions: int) -> Iterator[tuple[Mutation, int, int]]:
    """Every version of the key, oldest first: its mutation, number and append time (milliseconds since 1970)."""
    wanted, row = encode_key(key), None
    number = murmur2(wanted) % partitions
    receiver = way.receiver(group=None)
    try:
        ends = {number: ends_of(receiver, topic, partitions=partitions)[number]}
        for record in stretch(receiver, topic, {number: BEGINNING}, ends):
            if record.key() != wanted:
                continue
            try:
                mutation = decode_mutation(wanted, record.value())
            except BadRecord:
                continue
            folded = fold(row, mutation.step, record.offset())
            row = folded.memory
            if folded.applied:
                yield mutation, folded.outcome.version, record.timestamp()[1]
    finally:
        receiver.close()


def made_version(mutation: Mutation, version: int, at_ms: int, value: Any) -> Version:
    return Version(
        key=mutation.key,
        version=version,
        value=value,
        deleted=mutation.value is None,
        at=datetime.fromtimestamp(at_ms / 1000, UTC),
        by=mutation.by,
        run=mutation.writer.run or None,
        rerun=mutation.rerun,
        inputs=mutation.inputs,
        restores=mutation.restores,
    )
