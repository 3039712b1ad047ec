"""What a rewind touches: the topics and jobs behind a job, by what was seen of them and what they have registered."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kirby_common.ledger.daemons import DaemonRow
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_EDGES = text(
    "SELECT j.name AS job, t.name AS name, 'topic' AS kind,"
    " CASE x.direction WHEN 'source' THEN 'in' ELSE 'out' END AS direction, true AS current FROM script_topics x"
    " JOIN topics t ON t.id = x.topic_id JOIN contexts c ON c.script_id = x.script_id"
    " JOIN jobs j ON j.id = c.job_id JOIN environments e ON e.id = c.environment_id"
    " WHERE e.name = :env AND c.state = 'enabled'"
    " UNION ALL SELECT x.job, x.name, x.kind, x.direction, x.version = s.package_version AS current"
    " FROM lineage_edges x JOIN jobs j ON j.name = x.job JOIN environments e ON e.name = x.env"
    " JOIN contexts c ON c.job_id = j.id AND c.environment_id = e.id JOIN scripts s ON s.id = c.script_id"
    " WHERE x.env = :env AND x.told_by = '' AND c.state = 'enabled'"
)


@dataclass(frozen=True)
class Flows:
    """Of one environment: what each job reads and writes, by topics' names without prefix."""

    reads: Mapping[str, frozenset[str]]
    writes: Mapping[str, frozenset[str]]
    others: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Files, web services and States that they touch, as `file:…`."""

    def readers(self, topic: str) -> list[str]:
        return sorted(job for job, topics in self.reads.items() if topic in topics)


@dataclass(frozen=True)
class Touched:
    """`cycle`: a way from the job's outputs back to what it is to read again, topics and jobs in turn; or nothing."""

    topics: Sequence[str]
    jobs: Sequence[str]
    others: Sequence[str] = ()
    cycle: Sequence[str] = ()
    written: Sequence[str] = ()
    """Of the topics, those that the job itself writes."""


async def look_downstream(db: AsyncSession, daemon: DaemonRow, again: frozenset[str]) -> Touched:
    """By all versions; a circle counts only when the versions that are deployed make it."""
    rows = (await db.execute(_EDGES, {"env": daemon.env})).all()
    everything = touched(_flows(rows, prefix=daemon.topic_prefix), daemon.job, again)
    current = _flows([row for row in rows if row.current], prefix=daemon.topic_prefix)
    return replace(everything, cycle=touched(current, daemon.job, again).cycle)


def _flows(rows: Iterable[Any], *, prefix: str) -> Flows:
    by: dict[str, dict[str, set[str]]] = {"in": defaultdict(set), "out": defaultdict(set), "others": defaultdict(set)}
    for row in rows:
        if row.kind == "topic":
            by[row.direction][row.job].add(row.name.removeprefix(prefix))
        elif row.direction == "out":
            by["others"][row.job].add(f"{row.kind}:{row.name}")
    return Flows(*({job: frozenset(names) for job, names in by[which].items()} for which in ("in", "out", "others")))


def touched(flows: Flows, job: str, again: frozenset[str]) -> Touched:
    """What is behind `job` when it reads the topics `again` once more, nearest first.

    >>> flows = Flows({"daily": frozenset({"raw"}), "mail": frozenset({"daily"})}, {"daily": frozenset({"daily"})})
    >>> touched(flows, "daily", frozenset({"raw"}))
    Touched(topics=['daily'], jobs=['mail'], others=(), cycle=(), written=['daily'])
    """
    topics: dict[str, tuple[str, ...]] = {}
    jobs: dict[str, tuple[str, ...]] = {job: (job,)}
    queue = deque([job])
    cycle: tuple[str, ...] = ()
    while queue:
        writer = queue.popleft()
        for topic in sorted(flows.writes.get(writer, ())):
            if topic in topics:
                continue
            topics[topic] = (*jobs[writer], topic)
            if topic in again and not cycle:
                cycle = (*topics[topic], job)
            for reader in flows.readers(topic):
                if reader not in jobs:
                    jobs[reader] = (*topics[topic], reader)
                    queue.append(reader)
    others = sorted({other for name in jobs for other in flows.others.get(name, ())})
    written = sorted(flows.writes.get(job, ()))
    return Touched(list(topics), [name for name in jobs if name != job], tuple(others), cycle, written)
