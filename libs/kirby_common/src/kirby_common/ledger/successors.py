"""What follows the end of a run, written in the transaction that writes the end: never twice, never lost."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import Table, or_, select, text

from kirby_common.ledger import contexts, ids
from kirby_common.ledger.contexts import ContextView
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.runs import NewRun, RunRow, insert_runs, runs
from kirby_common.ledger.succession import (
    Edge,
    Follow,
    Unmet,
    downstream,
    enclosing,
    key_of,
    occasion_of,
    outcome,
)
from kirby_common.ledger.tables import Context, Job, JobPredecessor
from kirby_common.ledger.transitions import ENDED, Status
from kirby_common.ledger.windows import Calendar

log = structlog.get_logger()
_edges: Table = JobPredecessor.__table__  # type: ignore[assignment]
_contexts: Table = Context.__table__  # type: ignore[assignment]
_jobs: Table = Job.__table__  # type: ignore[assignment]
_MEET = text("SELECT pg_advisory_xact_lock(hashtextextended(:meeting, 0))")


async def follow(tx: Tx, ended: Iterable[RunRow], *, offers_prefix: str) -> list[RunRow]:
    """Inserts the runs that these ends call for; returns them. To be called once all ends are written."""
    ended = [run for run in ended if run.status in ENDED and run.kind not in ("daemon", "range")]
    if not ended or not await _anything_after(tx, {run.job_id for run in ended}):
        return []
    edges = [Edge(row.job_id, row.predecessor_id, row.on) for row in await tx.execute(select(_edges))]
    places = await _contexts_in(
        tx, {run.environment_id for run in ended}, {e for edge in edges for e in (edge.job, edge.after)}
    )
    due = sorted(
        {
            (str(places[edge.job, run.environment_id]), occasion_of(run), run.id, edge.job)
            for run in ended
            for edge in edges
            if edge.after == run.job_id and (edge.job, run.environment_id) in places
        }
    )
    # Two predecessors that end at once must see each other's ends: whoever comes second waits here for the first.
    several = {edge.job for edge in edges if sum(other.job == edge.job for other in edges) > 1}
    meetings = {f"{context}|{enclosing(occasion)[-1]}" for context, occasion, _, job in due if job in several}
    for meeting in sorted(meetings):
        await tx.execute(_MEET, {"meeting": meeting})
    by_id = {run.id: run for run in ended}
    now = await database_now(tx)
    called = [await _child(tx, by_id[run_id], job, occasion, edges, places, now) for _, occasion, run_id, job in due]
    children = {child.id: child for child in called if child is not None}
    inserted = await insert_runs(tx, list(children.values()), offers_prefix=offers_prefix)
    # A successor that is not run is an end, too: others may have been waiting for it.
    await follow(tx, [run for run in inserted if run.status == Status.SKIPPED], offers_prefix=offers_prefix)
    return inserted


async def _anything_after(tx: Tx, jobs: set[UUID]) -> bool:
    found = await tx.execute(select(_edges.c.job_id).where(_edges.c.predecessor_id.in_(jobs)).limit(1))
    return found.first() is not None


async def _contexts_in(tx: Tx, environments: set[UUID], jobs: set[UUID]) -> dict[tuple[UUID, UUID], UUID]:
    """The context of each job in each environment where it is."""
    statement = select(_contexts.c.id, _contexts.c.job_id, _contexts.c.environment_id).where(
        _contexts.c.job_id.in_(jobs), _contexts.c.environment_id.in_(environments)
    )
    return {(row.job_id, row.environment_id): row.id for row in await tx.execute(statement)}


async def _child(
    tx: Tx,
    ended: RunRow,
    job: UUID,
    occasion: str,
    edges: Sequence[Edge],
    places: Mapping[tuple[UUID, UUID], UUID],
    now: datetime,
) -> NewRun | None:
    """The run of `job` that the end calls for, PENDING or with why it is not run; None: none, or none yet."""
    mine = [edge for edge in edges if edge.job == job]
    before = await _predecessors(tx, ended, mine, occasion, edges, places)
    decided = outcome(mine, {job_id: run.status for job_id, run in before.items()})
    if decided is None:
        return None
    (context,) = await contexts.load(tx, [places[job, ended.environment_id]])
    try:
        reason = _why_not(context, decided, before, now)
    except ValueError:
        # The end that it follows has to be written all the same.
        log.exception("successor.rules_unreadable", job=context.job, env=context.env, after=str(ended.id))
        return None
    key = key_of(run.id for run in before.values())
    by_name = sorted(before.values(), key=lambda run: str(run.job))
    return NewRun(
        id=ids.run_id(context.id, "child", key), kind="child", key=key, context=context, fire_at=now,
        due_at=ended.due_at, status=Status.PENDING if reason is None else Status.SKIPPED, reason=reason,
        variables={name: value for run in by_name for name, value in run.variables.items()},
        rerun=any(run.rerun for run in by_name), parent_run_id=ended.id, occasion=occasion,
    )  # fmt: skip


async def _predecessors(
    tx: Tx,
    ended: RunRow,
    mine: Sequence[Edge],
    occasion: str,
    edges: Sequence[Edge],
    places: Mapping[tuple[UUID, UUID], UUID],
) -> dict[UUID, RunRow]:
    """The run of each predecessor on this occasion, as far as there is one.

    On a rerun, what lies downstream of it counts only if it has run anew, and of the others their runs before it.
    """
    around = enclosing(occasion)
    anew: set[UUID] = set()
    if len(around) > 1:
        repeated = select(runs.c.job_id).where(runs.c.id == UUID(occasion.rpartition("/")[2]))
        origin = (await tx.execute(repeated)).scalar_one_or_none()
        anew = set() if origin is None else downstream(edges, origin)
    found = {}
    for edge in mine:
        context_id = places.get((edge.after, ended.environment_id))
        if edge.after == ended.job_id:
            found[edge.after] = ended
        elif context_id is not None:
            run = await _run_on(tx, context_id, around[:1] if edge.after in anew else around)
            if run is not None:
                found[edge.after] = run
    return found


async def _run_on(tx: Tx, context_id: UUID, occasions: Sequence[str]) -> RunRow | None:
    """The context's newest run on the innermost of these occasions that it has one on."""
    kind, _, key = occasions[-1].rpartition("|")
    root = ids.run_id(context_id, "schedule", key) if kind == "due" else UUID(key) if "/" not in key else None
    statement = (
        select(runs)
        .where(runs.c.context_id == context_id, or_(runs.c.occasion.in_(occasions), runs.c.id == root))
        .order_by(runs.c.created_at.desc())
    )
    found = (await tx.execute(statement)).all()
    for occasion in occasions:
        for run in found:
            if occasion_of(run) == occasion:
                return run
    return None


def _why_not(context: ContextView, decided: Follow | Unmet, before: Mapping[UUID, RunRow], now: datetime) -> str | None:
    """Why the successor is not run, or None. Raises ValueError when the rules of its context can't be read."""
    rules = context.rules
    where = f"{context.job} in {context.env}"
    if isinstance(decided, Unmet):
        return f"not run: {before[decided.after].job} was {decided.status} (run {before[decided.after].id})"
    if context.state != "enabled":
        return f"not run: {where} is {'not enabled yet' if context.state == 'enabling' else 'disabled'}"
    if context.script_id is None:
        return f"not run: {where} has no script yet"
    if rules.paused is not None:
        return rules.paused
    open_ = Calendar(rules.windows, after=now - timedelta(microseconds=1), until=now).covering(now, None)
    window = open_[0].window if open_ else None
    if window is None or window.effect != "pause":
        return None
    return f"paused, exception {window.id[:8]} by {window.author}: {window.reason}"
