"""Says of runs that nobody takes why: no live worker has what they ask for."""

from datetime import timedelta

from kirby_common.ledger.runs import ONLY_ON_LABEL, RunRow, amend, runs
from kirby_common.ledger.tables import Worker
from kirby_common.ledger.transitions import Status
from sqlalchemy import Table, and_, func, not_, select

from kirby_scheduler.term import Term

_AFTER = timedelta(seconds=5)
_BATCH = 200
_workers: Table = Worker.__table__  # type: ignore[assignment]


async def explain(term: Term, *, lease: timedelta) -> int:
    """One pass; returns how many runs got a new reason. Raises `Deposed`."""
    now = func.clock_timestamp()
    has = _workers.c.labels.op("||")(func.jsonb_build_object(ONLY_ON_LABEL, _workers.c.name))
    fits = select(_workers.c.name).where(
        _workers.c.pool == runs.c.pool,
        ~_workers.c.gone,
        _workers.c.last_beat_at > now - lease * 1.25,
        has.op("@>", is_comparison=True)(runs.c.policies["worker_labels"]),
    )
    nobody = and_(
        runs.c.status == Status.PENDING,
        runs.c.fire_at < now - _AFTER,
        runs.c.startable_at < now - _AFTER,
        not_(fits.exists()),
    )
    async with term.engine.connect() as tx:
        waiting = (await tx.execute(select(runs).where(nobody).order_by(runs.c.fire_at).limit(_BATCH))).all()
    if all(run.reason == _reason(run) for run in waiting):
        return 0
    async with term.transaction() as tx:
        statement = select(runs).where(runs.c.id.in_([run.id for run in waiting]), nobody).order_by(runs.c.id)
        rows = (await tx.execute(statement.with_for_update(skip_locked=True, of=runs))).all()
        told = [run for run in rows if run.reason != _reason(run)]
        for run in told:
            await amend(tx, run, reason=_reason(run))
    return len(told)


def _reason(run: RunRow) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(run.policies.get("worker_labels", {}).items()))
    pool = f"of pool '{run.pool}'"
    return f"no live worker {pool} has the labels {labels}" if labels else f"no worker {pool} is alive"
