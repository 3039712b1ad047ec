"""Which jobs follow which, as pure decisions: when a successor runs, what it belongs to, and where a circle is.

The runs that belong together share an *occasion*: the due time of the scheduled run that a chain began with, or the
run itself when somebody asked for it. A rerun opens an occasion within the one of the run it repeats.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from kirby_common.ledger.transitions import ENDED, Status

Condition = Literal["success", "failure", "done"]
SUCCESS = frozenset({Status.SUCCEEDED})
FAILURE = frozenset({Status.FAILED, Status.KILLED, Status.LOST})
_ENOUGH: dict[Condition, frozenset[Status]] = {"success": SUCCESS, "failure": FAILURE, "done": SUCCESS | FAILURE}


@dataclass(frozen=True)
class Edge:
    """`job` runs after `after` has ended `on` success, failure, or either (done)."""

    job: UUID
    after: UUID
    on: Condition


@dataclass(frozen=True)
class Follow:
    """The successor is to run."""


@dataclass(frozen=True)
class Unmet:
    """It will not: `after` has ended in another way than the successor waits for."""

    after: UUID
    status: Status


def outcome(edges: Sequence[Edge], statuses: Mapping[UUID, str | None]) -> Follow | Unmet | None:
    """What the ends of all predecessors of one job mean for it; None: nothing, or nothing yet.

    The end of a LOST run may still become known: what waits for its success goes on waiting. A handler of failures
    that has nothing to handle is no row.
    """
    ends = {edge: statuses.get(edge.after) for edge in edges}
    if any(status is None or status not in ENDED for status in ends.values()):
        return None
    unmet = [(edge, Status(status)) for edge, status in ends.items() if status and status not in _ENOUGH[edge.on]]
    if not unmet:
        return Follow()
    edge, status = unmet[0]
    nothing_ran = all(status not in _ENOUGH["done"] for status in ends.values())
    if nothing_ran or any(e.on == "failure" or s is Status.LOST for e, s in unmet):
        return None
    return Unmet(edge.after, status)


def occasion_of(run: Any) -> str:
    """What the run belongs to."""
    if run.occasion is not None:
        return str(run.occasion)
    return f"due|{run.key}" if run.kind == "schedule" else str(run.id)


def occasion_of_rerun(original: Any, rerun_id: UUID) -> str:
    return f"{occasion_of(original)}/{rerun_id}"


def enclosing(occasion: str) -> list[str]:
    """The occasion and those that it lies within, the innermost first."""
    parts = occasion.split("/")
    return ["/".join(parts[:n]) for n in range(len(parts), 0, -1)]


def key_of(runs: Iterable[UUID]) -> str:
    """The key of the child of these runs: the same ends never make a second one."""
    return f"{'+'.join(sorted(str(run) for run in runs))}|after|0"


def downstream(edges: Iterable[Edge], job: UUID) -> set[UUID]:
    """The job and all that follow it, directly or not."""
    following: dict[UUID, list[UUID]] = {}
    for edge in edges:
        following.setdefault(edge.after, []).append(edge.job)
    found, to_visit = {job}, [job]
    while to_visit:
        fresh = set(following.get(to_visit.pop(), ())) - found
        found |= fresh
        to_visit += fresh
    return found


def circle(edges: Iterable[Edge], job: UUID) -> list[UUID] | None:
    """A way from the job back to itself, in the order in which they would run; None when there is none."""
    before: dict[UUID, list[UUID]] = {}
    for edge in edges:
        before.setdefault(edge.job, []).append(edge.after)
    ways, seen = [[job]], {job}
    while ways:
        way = ways.pop()
        for earlier in before.get(way[0], ()):
            if earlier == job:
                return [job, *way]
            if earlier not in seen:
                seen.add(earlier)
                ways.append([earlier, *way])
    return None
