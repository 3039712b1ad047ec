"""A change of rules: one transaction in which every due time is judged either by the old rules or by the new ones."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.types import Uuid

from kirby_common import failpoints
from kirby_common.ledger import attempts, contexts, places
from kirby_common.ledger.contexts import ContextView
from kirby_common.ledger.judge import Judgement, judge_each
from kirby_common.ledger.materialise import database_now, materialise, new_run
from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.ranges import ranges_beyond
from kirby_common.ledger.runs import RunRow, amend, insert_runs, runs, transition
from kirby_common.ledger.transitions import STARTED, Status
from kirby_common.ledger.walk import Rules, next_due
from kirby_common.topics import DEFAULT_OFFERS_PREFIX

_BATCH = 10_000


@dataclass
class RulesChange:
    """The transaction to make the edits in. After it, `too_late` lists the runs that start all the same."""

    session: AsyncSession
    author: str
    now: datetime
    too_late: list[RunRow] = field(default_factory=list)


@asynccontextmanager
async def change_of_rules(
    engine: AsyncEngine, *, author: str, offers_prefix: str = DEFAULT_OFFERS_PREFIX
) -> AsyncIterator[RulesChange]:
    """Makes an edit that touches due times: edit through `change.session` inside the block, wake the relay after it.

    Raises ValueError (also pydantic's ValidationError) when the edited rules can't be read: nothing is changed then.
    """
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        await session.execute(text("SELECT rev FROM rules_gate FOR UPDATE"))
        now = await database_now(session)
        while due := await contexts.load_due(session, until=now, now=now, limit=_BATCH):
            await materialise(session, due, until=now, now=now, offers_prefix=offers_prefix)
        before = await contexts.fingerprints(session)
        change = RulesChange(session=session, author=author, now=now)
        yield change
        await session.flush()
        after = await contexts.fingerprints(session)
        touched = [context_id for context_id, digest in after.items() if before.get(context_id) != digest]
        await _lock(session, touched, now)
        for context in await contexts.load(session, touched):
            change.too_late += await rejudge(session, context, author=author, now=now, offers_prefix=offers_prefix)
        await session.execute(text("UPDATE rules_gate SET rev = rev + 1"))
        await failpoints.hit("rules.before_commit")


async def _lock(tx: Tx, touched: Sequence[UUID], now: datetime) -> None:
    """All that may change, in the order in which launches, reports and beats take it: contexts, runs, attempts.

    Context by context they would be taken in another one, and a change and a beat could wait for each other.
    """
    await places.lock_contexts(tx, touched)
    mine = runs.c.context_id == func.any(bindparam("contexts", list(touched), type_=ARRAY(Uuid)))
    locked = await tx.execute(select(runs.c.id).where(mine, *_ahead(now)).order_by(runs.c.id).with_for_update())
    of_these = attempts.attempts.c.run_id == func.any(bindparam("runs", list(locked.scalars()), type_=ARRAY(Uuid)))
    await attempts.lock(tx, of_these & attempts.attempts.c.open)


async def rejudge(
    tx: Tx, context: ContextView, *, author: str, now: datetime, offers_prefix: str = DEFAULT_OFFERS_PREFIX
) -> list[RunRow]:
    """Judges the context's due times after `now` by the rules as they are now, in a transaction that holds the gate.

    Returns the runs that start all the same.
    """
    rows = await _future_rows(tx, context, now)
    if context.state != "enabled" or context.type != "scheduled":
        kept = [await _unwanted(tx, row, reason=f"disabled by {author}", now=now) for row in rows]
        await _move(tx, context, horizon=None, next_due_at=None)
        return [row for row in kept if row is not None]
    rules = context.rules
    # What has its row is judged anew, however near the horizon has come by an enabling in between.
    horizon = max([context.horizon or now, now, *(row.due_at for row in rows)])
    judged = {j.due_at: j for j in judge_each(rules, after=now, until=horizon, now=now)}
    for first, last in await ranges_beyond(tx, context.id, now):
        judged = {at: j for at, j in judged.items() if not first <= at <= last}
    waiting = _past_due(rules, rows, now)
    too_late = []
    for row in rows:
        j = judged.pop(row.due_at, waiting.get(row.due_at))
        kept_row = await _apply(tx, context, row, j, author=author, now=now)
        if kept_row is not None:
            too_late.append(kept_row)
    new = [new_run(context, rules, j, now) for j in judged.values()]
    await insert_runs(tx, new, offers_prefix=offers_prefix)
    await _move(tx, context, horizon=horizon, next_due_at=next_due(rules, after=horizon))
    return too_late


def _past_due(rules: Rules, rows: Sequence[RunRow], now: datetime) -> dict[datetime, Judgement]:
    """The due times that have passed of runs that fire later, by jitter: judged as what is still to come."""
    first = min((row.due_at for row in rows), default=now)
    if first > now:
        return {}
    before = first - timedelta(microseconds=1)
    return {j.due_at: j for j in judge_each(rules, after=before, until=now, now=before)}


async def _apply(
    tx: Tx, context: ContextView, row: RunRow, j: Judgement | None, *, author: str, now: datetime
) -> RunRow | None:
    """Brings one future row in line with its new judgement; returns it when it starts all the same."""
    if j is None:
        return await _unwanted(tx, row, reason=f"no longer due: schedule changed by {author}", now=now)
    if j.status is Status.SKIPPED:
        return await _unwanted(tx, row, reason=j.reason or "skipped", now=now)
    fields = _frozen(context)
    same = all(getattr(row, name) == value for name, value in fields.items())
    match row.status:
        case Status.SKIPPED:
            # It may have ended before a clock that was set back: nothing of that is to stay.
            again = {"startable_at": row.fire_at, "deadline_at": row.fire_at + context.policies.start_deadline}
            await transition(tx, row, Status.PENDING, reason=None, ended_at=None, **again, **fields)
        case Status.PENDING if not same:
            await amend(tx, row, **fields)
        case Status.CLAIMED if not same:
            await attempts.close(tx, row, status="REVOKED", reason="the rules changed", at=now)
            await transition(tx, row, Status.PENDING, **fields, **attempts.NO_HOLDER)
        case _:
            pass
    return None


async def _unwanted(tx: Tx, row: RunRow, *, reason: str, now: datetime) -> RunRow | None:
    """A future row that the rules no longer want to start; returns it when that is too late."""
    if row.attempt > 0:
        return row
    if row.status == Status.SKIPPED:
        if row.reason != reason:
            await amend(tx, row, reason=reason)
        return None
    if row.status == Status.CLAIMED:
        await attempts.close(tx, row, status="REVOKED", reason=reason, at=now)
    await transition(tx, row, Status.SKIPPED, reason=reason, **attempts.NO_HOLDER)
    return None


def _frozen(context: ContextView) -> dict[str, Any]:
    """The fields that a scheduled run takes over from its context."""
    policies = context.policies
    return {
        "script_id": context.script_id,
        "lock_id": context.lock_id,
        "package_name": context.package_name or "",
        "package_version": context.package_version or "",
        "entry": context.entry,
        "args": context.args,
        "pool": context.pool,
        "labels": context.labels,
        "policies": policies.model_dump(mode="json"),
        "priority": policies.priority,
    }


async def _future_rows(tx: Tx, context: ContextView, now: datetime) -> Sequence[RunRow]:
    mine = select(runs).where(runs.c.context_id == context.id, *_ahead(now))
    return (await tx.execute(mine.order_by(runs.c.id).with_for_update())).all()


def _ahead(now: datetime) -> Sequence[ColumnElement[bool]]:
    """Scheduled runs that a change of rules may concern."""
    return (
        runs.c.kind == "schedule",
        runs.c.fire_at > now,
        runs.c.status.in_([Status.PENDING, Status.CLAIMED, Status.SKIPPED, *STARTED]),
    )


async def _move(tx: Tx, context: ContextView, *, horizon: datetime | None, next_due_at: datetime | None) -> None:
    await tx.execute(
        text(
            "UPDATE contexts SET horizon = :horizon, next_due_at = :next, held = false, set_aside = NULL WHERE id = :id"
        ),
        {"horizon": horizon, "next": next_due_at, "id": context.id},
    )
