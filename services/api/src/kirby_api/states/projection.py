"""A stretch of a State's log, folded by the rule into rows. Pure; the recorder reads and writes the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kirby.state.records import OWNER_KEY, BadRecord, Mutation, decode_mutation, memory_form
from kirby.state.rule import Memory, fold
from kirby_common.ports import Record


class PartitionsChanged(ValueError):
    """A mutation was written to a log of another number of partitions: its key may lie in two of them."""

    def __init__(self, topic: str, *, now: int, before: int) -> None:
        super().__init__(
            f"the topic {topic} has {now} partitions and had {before}: a key may now lie in two of them."
            " Write the State to a new one, and delete this"
        )


@dataclass
class Folding:
    """What folding a stretch gives: memories of the keys it touches, new versions, and offsets that were skipped."""

    memories: dict[str, Memory]
    versions: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Decoded:
    """A stretch's mutations with their records, and the offsets of what is none."""

    mutations: Sequence[tuple[Record, Mutation]]
    skipped: Sequence[tuple[int, str]]

    @property
    def keys(self) -> set[str]:
        return {mutation.key for _, mutation in self.mutations}


def decode(records: Sequence[Record], *, partitions: int) -> Decoded:
    """Raises `UnknownRule`, `PartitionsChanged`."""
    mutations: list[tuple[Record, Mutation]] = []
    skipped: list[tuple[int, str]] = []
    for record in records:
        if record.key == OWNER_KEY:
            continue
        try:
            mutation = decode_mutation(record.key, record.value)
        except BadRecord as error:
            skipped.append((record.offset, str(error)))
            continue
        if mutation.of != partitions:
            raise PartitionsChanged(record.topic, now=partitions, before=mutation.of)
        mutations.append((record, mutation))
    return Decoded(mutations, skipped)


def fold_stretch(stretch: Decoded, memories: Mapping[str, Memory]) -> Folding:
    """Folds on from `memories`, the keys' as they are so far. What is folded already is passed over."""
    folding = Folding(dict(memories), skipped=list(stretch.skipped))
    for record, mutation in stretch.mutations:
        before = folding.memories.get(mutation.key)
        if before is not None and record.offset <= before.offset:
            continue
        folded = fold(before, mutation.step, record.offset)
        folding.memories[mutation.key] = folded.memory
        if folded.applied:
            folding.versions.append(_version_row(record, mutation, folded.outcome.version))
    return folding


def key_row(topic: str, partition: int, key: str, memory: Memory) -> dict[str, Any]:
    """The row of `state_keys`."""
    form = memory_form(memory)
    return {"topic": topic, "partition": partition, "key": key, "last_offset": form.pop("offset"), **form}


def _version_row(record: Record, mutation: Mutation, version: int) -> dict[str, Any]:
    value, writer = mutation.value, mutation.writer
    return {
        "topic": record.topic,
        "key": mutation.key,
        "version": version,
        "partition": record.partition,
        "offset": record.offset,
        "op": mutation.op.value,
        "restores": mutation.restores,
        "value": value.data if value else None,
        "content_type": value.content_type if value else None,
        "stored": value is not None and value.stored,
        "at": datetime.fromtimestamp(record.timestamp_ms / 1000, UTC),
        "by": mutation.by.replace("\0", ""),
        "run": writer.run or None,
        "grant_no": writer.grant if writer.run else None,
        "rerun": mutation.rerun,
        "inputs": [text.replace("\0", "") for text in mutation.inputs],
    }
