"""The next due times under an exception that is not saved yet."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Literal
from uuid import UUID

from kirby_common.ledger import contexts
from kirby_common.ledger.contexts import ContextView
from kirby_common.ledger.ids import run_id, schedule_key
from kirby_common.ledger.judge import ahead
from kirby_common.ledger.runs import jittered
from kirby_common.ledger.tables import ScheduleException
from kirby_common.ledger.transitions import Status
from kirby_common.ledger.windows import now_or_next
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from kirby_api.access.permissions import Caller
from kirby_api.changes import Change
from kirby_api.kinds.exceptions import Exceptions, NewException, window_of

_MOST_CONTEXTS = 200
_TICK = timedelta(microseconds=1)


class Foreseen(BaseModel):
    at: datetime
    fire_at: datetime = Field(description="when it is to start: with jitter, somewhat after it is due")
    job: str
    env: str
    outcome: Literal["runs", "added", "skipped"] = Field(description="added: only due because of an exception's cron")
    exception: UUID | None = Field(description="what skips or adds it; null with a reason: a pause")
    this: bool = Field(description="it is the exception that was asked about")
    reason: str | None


class Foresight(BaseModel):
    due: list[Foreseen]
    contexts: int = Field(description="how many enabled contexts it covers; beyond 200 those that are due next")


async def foresee(
    sessions: async_sessionmaker[AsyncSession], caller: Caller, form: NewException, *, replaces: UUID | None,
    start: datetime | None, n: int, now: datetime,
) -> Foresight:  # fmt: skip
    """The `n` due times from `start` on of what the exception covers. Raises `Invalid` as saving it would.

    It is made and taken back, so that what is foreseen is what the tick will judge. Unset, `start` is now, or when it
    opens next.
    """
    async with sessions() as db:
        former = None if replaces is None else await db.get(ScheduleException, replaces)
        row = await Exceptions().make(Change(db, caller), form)
        if former is not None:
            row.created_at = former.created_at
            await db.delete(former)
        await db.flush()
        await db.refresh(row)
        covered = await contexts.covered(db, scope=row.scope, ref=row.scope_ref, limit=_MOST_CONTEXTS)
        made, opening = row.id, now_or_next(window_of(row), now=now)
        await db.rollback()
    if start is None:
        start = now if opening is None else max(now, opening.start - _TICK)
    due = await asyncio.to_thread(_merged, covered, start, n, made)
    return Foresight(due=due, contexts=len(covered))


def _merged(covered: Sequence[ContextView], start: datetime, n: int, made: UUID) -> list[Foreseen]:
    streams = (_of_context(context, start, made) for context in covered)
    return list(islice(merge(*streams, key=lambda due: due.at), n))


def _of_context(context: ContextView, start: datetime, made: UUID) -> Iterator[Foreseen]:
    jitter = context.policies.jitter
    for j in ahead(context.rules, after=start):
        kept: Literal["runs", "added"] = "runs" if j.window is None else "added"
        window = None if j.window is None else UUID(j.window)
        yield Foreseen(
            at=j.due_at, fire_at=jittered(j.due_at, run_id(context.id, "schedule", schedule_key(j.due_at)), jitter),
            job=context.job, env=context.env, outcome="skipped" if j.status is Status.SKIPPED else kept,
            exception=None if window == made else window, this=window == made, reason=j.reason,
        )  # fmt: skip
