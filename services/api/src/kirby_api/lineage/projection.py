"""What has been told of lineage, as rows. Pure; the recorder reads and writes them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kirby_api.lineage.told import Announced, Joined, ProcessTouched, Touched

MOST_IN_SPAN = 2000
MOST_MS = 15_000
"""How much a span may hold: to find one message's successors, all that was sent in its time is looked at."""

LONG_AGO = datetime.min.replace(tzinfo=UTC)

SpanKey = tuple[bytes, str, str, str, int]
"""Process, direction, kind, name, input partition."""
EdgeKey = tuple[str, str, str, str, str, str]
"""Environment, job, version, direction, kind, name."""


@dataclass(frozen=True)
class Who:
    """What is known of a process."""

    env: str
    job: str
    version: str
    reads: str


@dataclass
class Edge:
    """What is added to an edge."""

    count: int = 0
    last_seen: datetime = LONG_AGO

    def seen(self, at: datetime, *, count: int = 0) -> None:
        self.count += count
        self.last_seen = max(self.last_seen, at)


@dataclass
class Projected:
    """`spans` are the newest of each key, new and extended ones alike; `full` those that have come to their end."""

    processes: list[dict[str, Any]] = field(default_factory=list)
    joins: list[dict[str, Any]] = field(default_factory=list)
    spans: dict[SpanKey, dict[str, Any]] = field(default_factory=dict)
    full: list[dict[str, Any]] = field(default_factory=list)
    edges: dict[EdgeKey, Edge] = field(default_factory=dict)


def project(
    told: Iterable[Announced | Joined | ProcessTouched],
    *,
    known: Mapping[bytes, Who],
    spans: Mapping[SpanKey, dict[str, Any]],
) -> Projected:
    """Goes on from the processes that are `known`, and each key's newest span."""
    made = Projected(spans=dict(spans))
    who = dict(known)
    for message in told:
        match message:
            case Announced():
                row = _process_row(message)
                made.processes.append(row)
                who[row["process"]] = _who(message)
                _read(made, who[row["process"]], message.at)
            case Joined():
                made.joins += _join_rows(message)
            case ProcessTouched():
                process = bytes.fromhex(message.process)
                for touched in message.touched:
                    _touch(made, process, who.get(process), touched)
    return made


def place_of(kind: str, name: str) -> str:
    """What a thing is in the graph: a file is one of its folder.

    >>> place_of("file", "s3://reports/2026/11/21.json")
    's3://reports/2026/11/'
    """
    return (name[: name.rfind("/") + 1] or name) if kind == "file" else name


def _touch(made: Projected, process: bytes, who: Who | None, touched: Touched) -> None:
    key = (process, touched.direction, touched.kind, touched.name, touched.partition)
    before = made.spans.get(key)
    if before is not None and _fits(before, touched):
        _extend(before, touched)
    else:
        if before is not None:
            made.full.append(before)
        made.spans[key] = _span_row(process, who, touched)
    if who is None:
        return
    at = _moment(touched.until_ms)
    name = place_of(touched.kind, touched.name)
    edge = made.edges.setdefault((who.env, who.job, who.version, touched.direction, touched.kind, name), Edge())
    edge.seen(at, count=touched.count)
    _read(made, who, at)


def _read(made: Projected, who: Who, at: datetime) -> None:
    if who.reads:
        made.edges.setdefault((who.env, who.job, who.version, "in", "topic", who.reads), Edge()).seen(at)


def _fits(row: Mapping[str, Any], touched: Touched) -> bool:
    since, until = min(row["since_ms"], touched.since_ms), max(row["until_ms"], touched.until_ms)
    return bool(row["count"] + touched.count <= MOST_IN_SPAN and until - since <= MOST_MS)


def _extend(row: dict[str, Any], touched: Touched) -> None:
    row["from_offset"] = min(row["from_offset"], touched.from_)
    row["to_offset"] = max(row["to_offset"], touched.to)
    row["count"] += touched.count
    row["since_ms"] = min(row["since_ms"], touched.since_ms)
    row["until_ms"] = max(row["until_ms"], touched.until_ms)
    row["changed"] = True


def _span_row(process: bytes, who: Who | None, touched: Touched) -> dict[str, Any]:
    return {
        "id": None, "changed": True, "process": process, "reads": None if who is None else who.reads,
        "direction": touched.direction, "kind": touched.kind, "name": touched.name, "partition": touched.partition,
        "from_offset": touched.from_, "to_offset": touched.to, "count": touched.count,
        "since_ms": touched.since_ms, "until_ms": touched.until_ms,
    }  # fmt: skip


def _process_row(told: Announced) -> dict[str, Any]:
    return told.model_dump(exclude={"type", "process"}) | {"process": bytes.fromhex(told.process)}


def _who(told: Announced) -> Who:
    return Who(told.env, told.job or told.program, told.version, told.reads)


def _join_rows(told: Joined) -> list[dict[str, Any]]:
    return [
        {
            "trace": bytes.fromhex(told.trace), "process": bytes.fromhex(told.process), "topic": r.topic,
            "partition": r.partition, "from_offset": r.from_, "to_offset": r.to, "at_ms": told.at_ms,
        }
        for r in told.inputs
    ]  # fmt: skip


def _moment(at_ms: int) -> datetime:
    """Of a time that somebody told: one that no clock can show is the last that one can."""
    return datetime.fromtimestamp(min(max(at_ms, 0) / 1000, 253_402_300_799), UTC)
