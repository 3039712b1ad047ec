"""The verdict over a chaos run: the witness's word against the ledger's and the log's, by rules of its own.

Pure: a history goes in, findings come out. It knows none of Kirby's code.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

ENDS = frozenset({"SUCCEEDED", "FAILED", "KILLED", "LOST", "MISSED", "SKIPPED", "CANCELLED"})
NOT_RUN = frozenset({"MISSED", "SKIPPED"})
Kind = Literal["double", "unreported", "line_lost"]


@dataclass(frozen=True)
class Heard:
    """A line of a witness file. `lines` is how many lines the script says that it has printed."""

    run_id: str
    grant: int
    boot: float
    what: str
    lines: int = 0


@dataclass(frozen=True)
class Row:
    """A run as the ledger has it in the end; times are seconds since the epoch."""

    id: str
    context: str
    kind: str
    status: str
    due_at: float | None
    attempt: int
    tries: int
    at_most_once: bool
    alone: bool
    """No other run of the context may be alive meanwhile."""
    range_to: float | None = None


@dataclass(frozen=True)
class Stretch:
    """From when to when a context was due every so many seconds."""

    context: str
    every: float
    since: float
    until: float


@dataclass(frozen=True)
class History:
    testimonies: Sequence[Heard]
    rows: Sequence[Row]
    stretches: Sequence[Stretch] = ()
    lines: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """How many of its lines each attempt (run, grant) has on Kafka, where the ledger's pointers say they are."""


@dataclass(frozen=True)
class Finding:
    kind: Kind
    text: str


def judge(history: History) -> list[Finding]:
    """Everything that must not be; none: the promise has held."""
    starts: dict[str, list[Heard]] = {}
    for said in sorted(history.testimonies, key=lambda t: t.boot):
        if said.what == "start":
            starts.setdefault(said.run_id, []).append(said)
    ends = {(t.run_id, t.grant): t for t in history.testimonies if t.what == "end"}
    rows = {row.id: row for row in history.rows}
    return [
        *_doubles(starts, ends, rows), *_overlaps(starts, ends, rows), *_due_times(history),
        *_unreported(starts, ends, rows), *_lines(ends, rows, history.lines),
    ]  # fmt: skip


def _doubles(
    starts: Mapping[str, Sequence[Heard]], ends: Mapping[tuple[str, int], Heard], rows: Mapping[str, Row]
) -> Iterator[Finding]:
    for run_id, said in starts.items():
        row = rows.get(run_id)
        by_grant = Counter(t.grant for t in said)
        for grant, count in by_grant.items():
            if count > 1:
                yield Finding("double", f"run {run_id}: grant {grant} was started {count} times")
        if row is not None and row.at_most_once and len(said) > row.tries:
            yield Finding("double", f"run {run_id}: started {len(said)} times, {row.tries} are allowed")
        for earlier, later in itertools.pairwise(said):
            end = ends.get((run_id, earlier.grant))
            if end is not None and end.boot > later.boot:
                yield Finding("double", f"run {run_id}: grant {later.grant} began before {earlier.grant} had ended")


def _overlaps(
    starts: Mapping[str, Sequence[Heard]], ends: Mapping[tuple[str, int], Heard], rows: Mapping[str, Row]
) -> Iterator[Finding]:
    """Of runs that must be alone: those of which both moments are told."""
    spans: dict[str, list[tuple[float, float, str]]] = {}
    for run_id, said in starts.items():
        row = rows.get(run_id)
        for start in said if row is not None and row.alone else ():
            end = ends.get((run_id, start.grant))
            if row is not None and end is not None:
                spans.setdefault(row.context, []).append((start.boot, end.boot, run_id))
    for mine in spans.values():
        mine.sort()
        for (_, ended, first), (began, _, second) in itertools.pairwise(mine):
            if began < ended:
                yield Finding("double", f"run {second} began {ended - began:.3f} s before run {first} had ended")


def _due_times(history: History) -> Iterator[Finding]:
    for context in {s.context for s in history.stretches}:
        due = {round(at, 3) for s in history.stretches if s.context == context for at in _multiples(s)}
        mine = [row for row in history.rows if row.context == context and row.due_at is not None]
        singles = Counter(round(row.due_at or 0.0, 3) for row in mine if row.kind == "schedule")
        ranges = [(row.due_at or 0.0, row.range_to or 0.0) for row in mine if row.kind == "range"]
        for at in sorted(due | set(singles)):
            told = singles[at] + sum(1 for first, last in ranges if first - 0.001 <= at <= last + 0.001)
            if told > 1:
                yield Finding("double", f"context {context}: the due time {at} has {told} rows")
            elif told == 0:
                yield Finding("unreported", f"context {context}: the due time {at} has no row")


def _multiples(s: Stretch) -> Iterator[float]:
    number = int(s.since // s.every) + 1
    while number * s.every <= s.until:
        yield number * s.every
        number += 1


def _unreported(
    starts: Mapping[str, Sequence[Heard]], ends: Mapping[tuple[str, int], Heard], rows: Mapping[str, Row]
) -> Iterator[Finding]:
    for row in rows.values():
        if row.status not in ENDS:
            yield Finding("unreported", f"run {row.id} never ends: it is {row.status}")
        if row.status == "SUCCEEDED" and not any(key[0] == row.id for key in ends):
            yield Finding("unreported", f"run {row.id} is SUCCEEDED, and the witness has not seen it end")
    for run_id, said in starts.items():
        started = rows.get(run_id)
        if started is None:
            yield Finding("unreported", f"run {run_id} was started and has no row")
        elif started.status in NOT_RUN or started.attempt == 0:
            yield Finding("unreported", f"run {run_id} was started {len(said)} times and is {started.status}")


def _lines(
    ends: Mapping[tuple[str, int], Heard], rows: Mapping[str, Row], lines: Mapping[tuple[str, int], int]
) -> Iterator[Finding]:
    """A script that came to its end has printed so many lines; a run whose end was seen has them all."""
    for key, end in ends.items():
        row = rows.get(key[0])
        seen = row is not None and row.status in ("SUCCEEDED", "FAILED")
        if seen and lines.get(key, 0) < end.lines:
            missing = end.lines - lines.get(key, 0)
            yield Finding("line_lost", f"run {key[0]}.{key[1]}: {missing} of {end.lines} lines are missing")


def count(findings: Sequence[Finding]) -> str:
    """`doubles=0 unreported=0 lines_lost=0`."""
    by_kind = Counter(f.kind for f in findings)
    return f"doubles={by_kind['double']} unreported={by_kind['unreported']} lines_lost={by_kind['line_lost']}"
