"""What a backfill would run: its due times, counted and looked up, before it is started."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from uuid import UUID

from kirby_common.ledger import backfill_orders
from kirby_common.ledger.backfill_orders import WantedBackfill
from kirby_common.ledger.backfill_times import Stretch
from kirby_common.ledger.backfills import RunThere, left_alone, runs_at, waits_for
from kirby_common.ledger.contexts import ContextView
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.triggers import NotTriggerable
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.backfills.view import BackfillPreview, DueTime, NewBackfill
from kirby_api.problems import Conflict, Invalid

_SHOWN = 50


@dataclass(frozen=True)
class Planned:
    wanted: WantedBackfill
    context: ContextView
    stretch: Stretch
    total: int

    async def preview(self, db: AsyncSession) -> BackfillPreview:
        """Which of the due times would be run."""
        ends = await asyncio.to_thread(_ends, self.stretch)
        bounds = [ends[0][0], (ends[1] or ends[0])[-1]] if ends[0] else []
        there = await runs_at(db, self.context.id, bounds)
        left = sum(1 for held in there.values() if self._leaves(held))
        first, last = ([self._due(at, there) for at in instants] for instants in ends)
        return BackfillPreview(
            job=self.context.job, env=self.context.env, total=self.total, to_run=max(self.total - left, 0),
            left_alone=left, first=first, last=last, waits_for=waits_for(self.context),
        )  # fmt: skip

    def _leaves(self, held: Sequence[RunThere]) -> bool:
        return left_alone(self.wanted.existing, [run.status for run in held])

    def _due(self, at: datetime, there: Mapping[datetime, Sequence[RunThere]]) -> DueTime:
        held = there.get(at, ())
        newest = held[-1] if held else None
        return DueTime(
            due_at=at,
            runs=not self._leaves(held),
            status=None if newest is None else newest.status,
            run_id=None if newest is None else newest.id,
        )


async def plan(db: AsyncSession, form: NewBackfill, context_id: UUID, *, most: int) -> Planned:
    """Raises `Conflict` when the context can't be backfilled, `Invalid` for a range with none or too many due times."""
    now = await database_now(db)
    wanted = WantedBackfill(
        context_id=context_id, start=form.from_, end=form.to or now, newest_first=form.order == "newest",
        existing=form.existing, rerun=form.rerun, concurrency=form.concurrency,
    )  # fmt: skip
    try:
        context, stretch = await backfill_orders.planned(db, wanted, now=now)
    except backfill_orders.BadRange as error:
        raise Invalid(str(error)) from error
    except NotTriggerable as error:
        raise Conflict(str(error)) from error
    where = f"from {wanted.start:%Y-%m-%d %H:%M} to {wanted.end:%Y-%m-%d %H:%M} UTC"
    total = await asyncio.to_thread(_total, stretch, most)
    if total > most:
        raise Invalid(
            f"the range {where} has {total:,} due times, and a backfill may have at most {most:,}"
            " (KIRBY_BACKFILL_MAX): make several of shorter ranges",
            total=total,
            most=most,
        )
    if total == 0:
        raise Invalid(f"nothing was due {where}; `kirby schedules preview` shows when it would be")
    return Planned(wanted, context, stretch, total)


def _total(stretch: Stretch, most: int) -> int:
    """How many due times there are; too many are not walked."""
    estimate = stretch.estimate()
    return estimate if estimate > most * max(len(stretch.schedules), 1) else stretch.count(most=estimate)


def _ends(stretch: Stretch) -> tuple[list[datetime], list[datetime]]:
    """The first and the last due times."""
    instants = stretch.instants()
    first = list(islice(instants, _SHOWN))
    return first, list(deque(instants, maxlen=_SHOWN))
