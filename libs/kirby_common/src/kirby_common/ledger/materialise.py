"""From due times to rows: what the tick does for every due context, and a change of rules for the touched ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import text, update

from kirby_common.ledger import ids
from kirby_common.ledger.contexts import ContextView
from kirby_common.ledger.judge import Judgement, joined, judge_each
from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.ranges import extend_ranges
from kirby_common.ledger.runs import NewRun, RunRow, insert_runs, jittered
from kirby_common.ledger.tables import Context
from kirby_common.ledger.walk import Rules, next_due

log = structlog.get_logger()
_contexts = Context.__table__

MOST_PER_CONTEXT = 2000
"""So many due times of one context are judged in one transaction."""

_MOST_PER_TRANSACTION = 20_000


async def database_now(tx: Tx) -> datetime:
    """The ledger's own time; no process's clock takes part in a decision about due times."""
    now: datetime = (await tx.execute(text("SELECT clock_timestamp()"))).scalar_one()
    return now


@dataclass(frozen=True)
class Plan:
    """The rows of a context's due times up to `horizon`, and the next one.

    `held`: that one lies in a pause; it is written down when it has passed, so that no range row lies ahead of now.
    `whole`: nothing is left for another transaction.
    """

    rows: Sequence[NewRun]
    horizon: datetime
    next_due_at: datetime | None
    held: bool
    whole: bool


def plan(context: ContextView, rules: Rules, *, until: datetime, now: datetime, most: int = MOST_PER_CONTEXT) -> Plan:
    """What is written down next of the context's due times up to `until`: after a long outage only the first `most`."""
    judged = judge_each(rules, after=context.horizon or now, until=until, now=now, most=most)
    whole = len(judged) < most
    if not whole:
        until = judged[-1].due_at
    held = _held(judged, now)
    if held is not None:
        judged = [j for j in judged if j.due_at < held]
        until = held - timedelta(microseconds=1)
    rows = [new_run(context, rules, j, now) for j in joined(judged, now=now)]
    return Plan(rows, until, held or next_due(rules, after=until), held=held is not None, whole=whole)


def _held(judged: Sequence[Judgement], now: datetime) -> datetime | None:
    """The first due time ahead in a pause after which nothing is run yet."""
    first = None
    for j in reversed(judged):
        if not j.paused or j.due_at <= now:
            break
        first = j.due_at
    return first


def new_run(context: ContextView, rules: Rules, j: Judgement, now: datetime) -> NewRun:
    """The row of one judgement: a due time by itself, or a range of them."""
    if j.until is not None:
        key = ids.range_key(j.due_at)
        return NewRun(
            id=ids.run_id(context.id, "range", key), kind="range", key=key, context=context, due_at=j.due_at,
            fire_at=j.due_at, status=j.status, reason=j.reason, range_to=j.until, range_count=j.count,
        )  # fmt: skip
    key = ids.schedule_key(j.due_at)
    run_id = ids.run_id(context.id, "schedule", key)
    fire_at = jittered(j.due_at, run_id, rules.policies.jitter)
    return NewRun(
        id=run_id, kind="schedule", key=key, context=context, due_at=j.due_at, fire_at=fire_at,
        startable_at=max(fire_at, now), status=j.status, reason=j.reason,
    )  # fmt: skip


@dataclass(frozen=True)
class Materialised:
    """`whole`: all of the contexts were seen to; after a long outage some are left for the next transaction."""

    inserted: list[RunRow]
    whole: bool


async def materialise(
    tx: Tx,
    due: Sequence[ContextView],
    *,
    until: datetime,
    now: datetime,
    offers_prefix: str,
) -> Materialised:
    """Inserts the rows of these contexts up to `until` and moves their horizons.

    A context whose decision raises is set aside with the reason; the others go on.
    """
    new: list[NewRun] = []
    moved: list[tuple[ContextView, Plan]] = []
    judged, whole = 0, True
    for context in due:
        if judged > _MOST_PER_TRANSACTION:
            whole = False
            break
        try:
            planned = plan(context, context.rules, until=until, now=now)
            moved.append((context, planned))
            new += planned.rows
            judged += sum(row.range_count or 1 for row in planned.rows)
            whole = whole and planned.whole
        except Exception as error:
            log.exception("tick.context_set_aside", context=str(context.id), job=context.job, env=context.env)
            reason = f"its due times can't be decided: {error}"
            await tx.execute(update(_contexts).where(_contexts.c.id == context.id).values(set_aside=reason))  # type: ignore[arg-type]
    inserted = await insert_runs(tx, await extend_ranges(tx, new), offers_prefix=offers_prefix)
    if moved:
        await tx.execute(
            text(
                "UPDATE contexts SET horizon = :until, next_due_at = CAST(:next AS timestamptz), held = :held"
                " WHERE id = :id AND horizon IS NOT DISTINCT FROM CAST(:was AS timestamptz)"
            ),
            [
                {"until": p.horizon, "next": p.next_due_at, "held": p.held, "id": c.id, "was": c.horizon}
                for c, p in sorted(moved, key=lambda each: each[0].id)  # As everybody locks contexts.
            ],
        )
    return Materialised(inserted, whole=whole)
