"""What a shadow rewind made, held against what was made before: pure.

Outputs belong together when they were made from the same message, which the last hop of their `kirby` header names.
Those that were made from several messages, or from none, belong together by their key, in order. Of two processes
that made something from one message, the later one counts: it was made again, after a crash or by an earlier rewind.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from kirby import lineage
from kirby.replaying.ports import Copied

MOST_EXAMPLES = 5
Kind = Literal["changed", "only_original", "only_shadow"]
Stretches = Mapping[tuple[str, int], tuple[int, int]]
"""By input topic and partition, the offsets [from, to) that the rewind is about."""


@dataclass(frozen=True, slots=True)
class Process:
    """What a process has announced: whose it was, and which topic it read."""

    job: str
    env: str
    reads: str


@dataclass(frozen=True, slots=True)
class Output:
    """A message of an output topic. `source`: partition and offset of the one message that it was made from."""

    place: tuple[int, int]
    key: bytes | None
    digest: bytes
    at_ms: int
    process: bytes
    source: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Example:
    """Two outputs that differ, or one without a counterpart, by their places."""

    kind: Kind
    key: bytes | None
    original: tuple[int, int] | None
    shadow: tuple[int, int] | None


@dataclass(frozen=True)
class Compared:
    """One output topic."""

    same: int = 0
    changed: int = 0
    only_original: int = 0
    only_shadow: int = 0
    examples: Sequence[Example] = ()


def output_of(record: Copied) -> Output | None:
    """None for a message that Kirby did not write: it was not made by the job."""
    known = lineage.unpack(dict(record.headers).get(lineage.HEADER, b""))
    if known is None or not known.hops:
        return None
    hop = known.hops[-1]
    text = b"\0" if record.value is None else b"\1" + record.value
    return Output(
        place=(record.partition, record.offset),
        key=record.key,
        digest=blake2b(text, digest_size=16, key=(record.key or b"")[:64]).digest(),
        at_ms=record.at_ms,
        process=hop.process,
        source=None if hop.partition < 0 else (hop.partition, hop.offset),
    )


def may_count(output: Output, stretches: Stretches) -> bool:
    """Whether the rewind may have made it again: cheap, before it is known who made it."""
    if output.source is None:
        return True
    partition, offset = output.source
    return any(number == partition and begin <= offset < end for (_, number), (begin, end) in stretches.items())


def compare(
    originals: Iterable[Output], shadows: Iterable[Output], stretches: Stretches, *, known: Mapping[bytes, Process],
    job: str, env: str,
) -> Compared:  # fmt: skip
    """Holds them against each other. `known`: processes that have announced themselves; others count as the job's."""
    ours = [o for o in originals if _is_by(known.get(o.process), job, env)]
    theirs = list(shadows)
    reads = _reads([*ours, *theirs], known, stretches)
    before, after = _grouped(ours, reads, stretches), _grouped(theirs, reads, stretches)
    found: Counter[str] = Counter()
    examples: list[Example] = []
    for group in sorted(before.keys() | after.keys(), key=str):
        same, pairs = _paired(_latest(before.get(group, []), group), _latest(after.get(group, []), group))
        found["same"] += same
        for original, shadow in pairs:
            if shadow is None and group[0] == "key":
                # It may have been made from messages after the range.
                continue
            kind: Kind = "only_shadow" if original is None else "only_original" if shadow is None else "changed"
            found[kind] += 1
            if found[kind] <= MOST_EXAMPLES:
                examples.append(_example(kind, original, shadow))
    return Compared(**found, examples=examples)


_Group = tuple[str, object, int, int]


def _is_by(process: Process | None, job: str, env: str) -> bool:
    return process is None or (process.job, process.env) == (job, env)


def _reads(
    outputs: Iterable[Output], known: Mapping[bytes, Process], stretches: Stretches
) -> Mapping[bytes, str] | None:
    """Which topic each process read; None where that can't be told of one, so that topics are not held apart."""
    topics = {topic for topic, _ in stretches}
    processes = {output.process for output in outputs if output.source is not None}
    if len(topics) > 1 and not processes <= known.keys():
        return None
    only = next(iter(topics), "")
    return {process: known[process].reads if process in known else only for process in processes}


def _grouped(
    outputs: Iterable[Output], reads: Mapping[bytes, str] | None, stretches: Stretches
) -> dict[_Group, list[Output]]:
    groups: dict[_Group, list[Output]] = defaultdict(list)
    for output in outputs:
        if output.source is None:
            groups["key", output.key, 0, 0].append(output)
            continue
        partition, offset = output.source
        topic = "" if reads is None else reads[output.process]
        begin, end = (0, offset + 1) if reads is None else stretches.get((topic, partition), (0, 0))
        if begin <= offset < end:
            groups["message", topic, partition, offset].append(output)
    return groups


def _latest(outputs: Sequence[Output], group: _Group) -> list[Output]:
    """In order; of what was made from one message, that of the last process to do so."""
    ordered = sorted(outputs, key=lambda o: (o.at_ms, o.place))
    if group[0] == "key":
        return ordered
    last: dict[bytes, tuple[int, tuple[int, int]]] = {}
    for output in ordered:
        last[output.process] = max(last.get(output.process, (0, (0, 0))), (output.at_ms, output.place))
    newest = max(last, key=lambda process: last[process], default=b"")
    return [output for output in ordered if output.process == newest]


def _paired(
    originals: Sequence[Output], shadows: Sequence[Output]
) -> tuple[int, list[tuple[Output | None, Output | None]]]:
    """How many are the same, and the others side by side."""
    left = Counter(o.digest for o in originals) & Counter(o.digest for o in shadows)
    same = left.total()
    rests = [_without(side, left) for side in (originals, shadows)]
    longest = max(map(len, rests))
    padded = [[*side, *[None] * (longest - len(side))] for side in rests]
    return same, list(zip(*padded, strict=True))


def _without(outputs: Sequence[Output], same: Counter[bytes]) -> list[Output | None]:
    left, rest = Counter(same), []
    for output in outputs:
        if left[output.digest]:
            left[output.digest] -= 1
        else:
            rest.append(output)
    return list(rest)


def _example(kind: Kind, original: Output | None, shadow: Output | None) -> Example:
    of = original if shadow is None else shadow
    return Example(
        kind,
        None if of is None else of.key,
        None if original is None else original.place,
        None if shadow is None else shadow.place,
    )
