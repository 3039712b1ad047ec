"""The graph: jobs and what they read and write, from the edges and the newest spans. Pure but for `load`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from kirby_common.ledger.tables import LineageEdge
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Table, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.lineage.projection import place_of
from kirby_api.lineage.query import Sight
from kirby_api.messages.reading import env_of

RATES_OVER = timedelta(minutes=5)
Kind = Literal["job", "topic", "file", "web", "state", "dataset"]
_edges: Table = LineageEdge.__table__  # type: ignore[assignment]

_RATES = text(
    "SELECT p.env, CASE WHEN p.job = '' THEN p.program ELSE p.job END AS job, s.direction, s.kind, s.name,"
    " sum(s.count) AS count FROM lineage_spans s JOIN lineage_processes p ON p.process = s.process"
    " WHERE s.until_ms >= :since_ms GROUP BY 1, 2, 3, 4, 5"
)
_LAGS = text(
    "SELECT j.name AS job, e.name AS env, p.lag, p.offsets, p.moved_at FROM daemon_progress p"
    " JOIN contexts c ON c.id = p.context_id JOIN jobs j ON j.id = c.job_id"
    " JOIN environments e ON e.id = c.environment_id"
)
_REGISTERED = text(
    "SELECT j.name AS job, e.name AS env, st.direction, e.topic_prefix || t.name AS topic"
    " FROM script_topics st JOIN topics t ON t.id = st.topic_id JOIN contexts c ON c.script_id = st.script_id"
    " JOIN jobs j ON j.id = c.job_id JOIN environments e ON e.id = c.environment_id"
)


class Node(BaseModel):
    """A job, or something that jobs read or write. `lag` of a job: how many messages wait for it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": "job:prod/weather-daily", "kind": "job", "name": "weather-daily", "env": "prod",
                 "versions": ["1.2.0"], "rate": None, "lag": 0, "last_seen": "2026-11-21T10:00:00Z"}
            ]
        }
    )  # fmt: skip

    id: str
    kind: Kind
    name: str
    env: str | None = None
    versions: list[str] = Field(default=[], description="of a job, the one seen last first")
    rate: float | None = Field(default=None, description="written to it in the last 5 minutes, a second")
    lag: int | None = None
    last_seen: datetime | None = None


class Edge(BaseModel):
    """Something goes from `source` to `target`; one of them is a job. `count` since it was first seen."""

    source: str
    target: str
    count: int = 0
    rate: float | None = Field(default=None, description="in the last 5 minutes, a second")
    last_seen: datetime | None = None
    registered: bool = Field(default=False, description="told by a script's registration only, not seen yet")
    told_by: list[str] = Field(default=[], description="the producers of OpenLineage events that told of it")


class Graph(BaseModel):
    nodes: list[Node]
    edges: list[Edge]


@dataclass
class Builder:
    """Puts nodes and edges together; what the caller may not see is left out."""

    seen: Sight
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[tuple[str, str], Edge] = field(default_factory=dict)
    _versions: dict[str, dict[str, datetime]] = field(default_factory=lambda: defaultdict(dict))

    def job(self, env: str, job: str) -> Node | None:
        if not self.seen.job(env, job):
            return None
        return self._node(f"job:{env}/{job}", "job", job, env or None)

    def thing(self, env: str, kind: str, name: str) -> Node | None:
        if kind == "topic":
            topic = f"topic:{name}"
            return self._node(topic, "topic", name, env_of(name, self.seen.prefixes)) if self.seen.topic(name) else None
        if kind == "state":
            return self._node(f"state:{env}/{name}", "state", name, env)
        return self._node(f"{kind}:{name}", kind, name, None)

    def edge(self, env: str, job: str, direction: str, kind: str, name: str) -> Edge | None:
        """Between a job and what it reads ("in") or writes ("out")."""
        one = self.job(env, job)
        other = None if one is None else self.thing(env, kind, name)
        if one is None or other is None:
            return None
        ends = (other.id, one.id) if direction == "in" else (one.id, other.id)
        return self.edges.setdefault(ends, Edge(source=ends[0], target=ends[1]))

    def seen_edge(self, row: Any) -> None:
        """A row of the edges."""
        edge = self.edge(row.env, row.job, row.direction, row.kind, row.name)
        if edge is None:
            return
        edge.count += row.count
        if row.told_by:
            edge.told_by.append(row.told_by)
        job = edge.target if row.direction == "in" else edge.source
        if row.version:
            self._versions[job][row.version] = max(row.last_seen, self._versions[job].get(row.version, row.last_seen))
        for thing in (edge, self.nodes[edge.source], self.nodes[edge.target]):
            thing.last_seen = max(row.last_seen, thing.last_seen or row.last_seen)

    def rate(self, row: Any) -> None:
        """How often something was touched lately."""
        edge = self.edge(row.env, row.job, row.direction, row.kind, place_of(row.kind, row.name))
        if edge is None:
            return
        a_second = float(row.count) / RATES_OVER.total_seconds()
        edge.rate = (edge.rate or 0) + a_second
        if row.direction == "out":
            node = self.nodes[edge.target]
            node.rate = (node.rate or 0) + a_second

    def lag(self, row: Any) -> None:
        """A daemon's group: what it reads, and how much waits for it."""
        node = self.job(row.env, row.job)
        if node is None:
            return
        node.lag = row.lag
        for topic in sorted({place.rpartition(":")[0] for place in row.offsets}):
            edge = self.edge(row.env, row.job, "in", "topic", topic)
            if edge is not None:
                edge.last_seen = max(row.moved_at, edge.last_seen or row.moved_at)

    def registered(self, row: Any) -> None:
        """What a script has said that it reads or writes."""
        edge = self.edge(row.env, row.job, "in" if row.direction == "source" else "out", "topic", row.topic)
        if edge is not None and edge.last_seen is None:
            edge.registered = True

    def graph(self) -> Graph:
        for job, versions in self._versions.items():
            self.nodes[job].versions = sorted(versions, key=lambda v: (versions[v], v), reverse=True)
        nodes = sorted(self.nodes.values(), key=lambda n: n.id)
        return Graph(nodes=nodes, edges=sorted(self.edges.values(), key=lambda e: (e.source, e.target)))

    def _node(self, id_: str, kind: str, name: str, env: str | None) -> Node:
        return self.nodes.setdefault(id_, Node(id=id_, kind=kind, name=name, env=env))


async def load(db: AsyncSession, seen: Sight, *, now: datetime) -> Graph:
    """The whole graph, as far as the caller may see it."""
    builder = Builder(seen)
    for row in await db.execute(select(_edges)):
        builder.seen_edge(row)
    since_ms = round((now - RATES_OVER).timestamp() * 1000)
    for row in await db.execute(_RATES, {"since_ms": since_ms}):
        builder.rate(row)
    for row in await db.execute(_LAGS):
        builder.lag(row)
    for row in await db.execute(_REGISTERED):
        builder.registered(row)
    return builder.graph()


def of_environment(graph: Graph, env: str) -> Graph:
    """The environment's jobs, with what they read and write, and its topics and States."""
    jobs = {n.id for n in graph.nodes if n.kind == "job" and n.env == env}
    edges = [e for e in graph.edges if e.source in jobs or e.target in jobs]
    ends = {end for e in edges for end in (e.source, e.target)}
    nodes = [n for n in graph.nodes if n.id in ends or n.env == env]
    return Graph(nodes=nodes, edges=edges)


def around(graph: Graph, node: str) -> Graph:
    """Where it comes from and where it goes, all the way; a cycle ends where it began."""
    back, forth = _steps((e.target, e.source) for e in graph.edges), _steps((e.source, e.target) for e in graph.edges)
    kept = _reached(node, back) | _reached(node, forth)
    edges = [e for e in graph.edges if e.source in kept and e.target in kept]
    return Graph(nodes=[n for n in graph.nodes if n.id in kept], edges=edges)


def _steps(ends: Iterable[tuple[str, str]]) -> Mapping[str, Sequence[str]]:
    steps: dict[str, list[str]] = defaultdict(list)
    for here, there in ends:
        steps[here].append(there)
    return steps


def _reached(start: str, steps: Mapping[str, Sequence[str]]) -> set[str]:
    found, left = {start}, [start]
    while left:
        for there in steps.get(left.pop(), ()):
            if there not in found:
                found.add(there)
                left.append(there)
    return found
