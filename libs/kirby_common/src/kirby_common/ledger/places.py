"""Places in the ledger: who holds and who waits, read under the locks that make a decision about them final.

Locks are taken in one order everywhere: contexts by id, then limits by name, then runs by id.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, bindparam, func, select, text, union_all
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text, Uuid

from kirby_common.ledger import admission
from kirby_common.ledger.admission import Contender, Room
from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.runs import RunRow, runs
from kirby_common.ledger.tables import Limit
from kirby_common.ledger.transitions import STARTED, Status

SEEN_IN_LINE = 50
"""How many of one queue are looked at together; the others' turn comes when these have gone."""

_MOST_WAITING = 2000
_limits: Table = Limit.__table__  # type: ignore[assignment]
# Not FOR UPDATE, which would also wait for everybody who inserts a run of the context.
_LOCK_CONTEXTS = text("SELECT id FROM contexts WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE").bindparams(
    bindparam("ids", type_=ARRAY(Uuid))
)
_COLUMNS = tuple(
    runs.c[name]
    for name in (
        "id", "context_id", "fire_at", "status", "priority", "attempt", "policies", "labels", "args", "variables",
        "job", "env", "namespace", "waits_for", "let_go_at", "kind",
    )
)  # fmt: skip


async def lock(tx: Tx, run_ids: Sequence[UUID]) -> tuple[dict[UUID, RunRow], list[admission.Limit]]:
    """Locks the contexts and limits of these runs, then the runs; returns the runs, and the limits."""
    named = (await tx.execute(select(runs.c.context_id, runs.c.policies).where(runs.c.id.in_(run_ids)))).all()
    await lock_contexts(tx, list({row.context_id for row in named}))
    limits = await _lock_limits(tx, {name for row in named for name in row.policies.get("limits", ())})
    rows = await tx.execute(select(runs).where(runs.c.id.in_(run_ids)).order_by(runs.c.id).with_for_update())
    return {row.id: row for row in rows}, limits


async def lock_contexts(tx: Tx, ids: Sequence[UUID]) -> None:
    """Locks these contexts, in the order in which everybody does."""
    await tx.execute(_LOCK_CONTEXTS, {"ids": list(ids)})


async def _lock_limits(tx: Tx, names: set[str]) -> list[admission.Limit]:
    if not names:
        return []
    statement = select(_limits).where(_limits.c.name.in_(names)).order_by(_limits.c.name).with_for_update()
    return [admission.Limit(row.name, row.places, row.key) for row in await tx.execute(statement)]


async def room(tx: Tx, asking: Iterable[RunRow], limits: Sequence[admission.Limit], *, now: datetime) -> Room:
    """Everybody who has a say in whether these runs may start. The caller has locked what `lock` locks."""
    contexts = bindparam("contexts", list({run.context_id for run in asking}), type_=ARRAY(Uuid), unique=True)
    of_context = runs.c.context_id == func.any(contexts)
    of_limit = names_one_of([limit.name for limit in limits])
    parts = [*_holding(of_context), _waiting(of_context)]
    if limits:
        parts += [*_holding(of_limit), _waiting(of_limit)]
    rows = await tx.execute(union_all(*parts))
    return Room((contender(row) for row in rows), limits, now=now)


def names_one_of(limits: Sequence[str]) -> ColumnElement[bool]:
    """That the policies of a run name one of these limits."""
    names = bindparam("limits", list(limits), type_=ARRAY(Text), unique=True)
    return runs.c.policies["limits"].op("?|", is_comparison=True)(names)


def _holding(mine: ColumnElement[bool]) -> list[Select[tuple[object, ...]]]:
    """Those that hold a place or were promised one; one query for each index."""
    waiting = runs.c.status.in_([Status.PENDING, Status.CLAIMED])
    cases = (
        runs.c.status.in_(STARTED),
        and_(runs.c.status == Status.LOST, runs.c.unfenced),
        and_(waiting, runs.c.let_go_at.is_not(None)),
        (runs.c.status == Status.RETRYING) | (waiting & (runs.c.attempt > 0)),
    )
    return [select(*_COLUMNS).where(runs.c.kind != "daemon", mine, case) for case in cases]


def _waiting(mine: ColumnElement[bool]) -> Select[tuple[object, ...]]:
    """The first of each queue."""
    place = func.row_number().over(
        partition_by=runs.c.waits_for, order_by=(runs.c.fire_at, runs.c.priority.desc(), runs.c.id)
    )
    queued = (
        select(*_COLUMNS, place.label("place"))
        .where(runs.c.status == Status.PENDING, runs.c.waits_for.is_not(None), mine)
        .limit(_MOST_WAITING)
        .subquery()
    )
    return select(*(queued.c[column.name] for column in _COLUMNS)).where(queued.c.place <= SEEN_IN_LINE)


def turn(run: RunRow) -> tuple[datetime, int, UUID]:
    """The order in which runs get places."""
    return contender(run).turn


def contender(run: RunRow) -> Contender:
    """The run as admission sees it."""
    policies = run.policies
    return Contender(
        id=run.id, context_id=run.context_id, fire_at=run.fire_at, status=Status(run.status), priority=run.priority,
        attempt=run.attempt, overlap=policies.get("overlap", "skip"), concurrency=policies.get("concurrency"),
        limits=tuple(policies.get("limits", ())), facts=_facts(run) if policies.get("limits") else None,
        waits_for=run.waits_for, let_go_at=run.let_go_at, backfill=run.kind == "backfill",
    )  # fmt: skip


def _facts(run: RunRow) -> dict[str, str]:
    """What the key of a limit may name."""
    return {
        "job": run.job,
        "env": run.env,
        "namespace": run.namespace,
        **{f"labels.{name}": value for name, value in run.labels.items()},
        **{f"variables.{name}": value for name, value in run.variables.items()},
        **{f"args.{index}": value for index, value in enumerate(run.args)},
    }
