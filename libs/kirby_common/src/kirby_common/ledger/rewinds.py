"""Rewinds in the ledger: asked for by people, carried out by the leader.

    draining ──► running ──► done          a pause, a throttle, a cancel: back to draining, and from there
       │  ▲         │                      to running, paused or cancelled
       ▼  └─────────┘
    paused, cancelled, failed

While one is draining or paused, the arbiter keeps the daemon's replicas down; only the leader ends that. One in shadow
has a run of its own instead, which is what drains, and goes on from running as `shadows` says.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, Table, select, text, update
from sqlalchemy.dialects.postgresql import insert

from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.rewind_parts import Part, as_rows
from kirby_common.ledger.tables import Rewind
from kirby_common.ledger.triggers import Conflict

rewinds: Table = Rewind.__table__  # type: ignore[assignment]
RewindRow = Row[Any]
OPEN = ("draining", "running", "paused")
HOLDING = ("draining", "paused")
WORKING = ("draining", "running", "comparing", "promoting", "dropping")
"""The states in which the leader has something to do."""
_NOT_DOWN = text(
    "SELECT (SELECT count(*) FROM daemon_slots d WHERE d.context_id = :context AND d.state <> 'DOWN')"
    " + (SELECT count(*) FROM runs r WHERE r.context_id = :context AND r.kind = 'daemon'"
    " AND r.status IN ('PENDING', 'CLAIMED', 'LAUNCHING', 'RUNNING'))"
)
_ORPHANS = text(
    "UPDATE rewinds w SET state = 'failed', reason = 'the job was removed there', rev = rev + 1,"
    " ended_at = clock_timestamp() WHERE w.state IN ('draining', 'running', 'paused', 'comparing', 'promoting')"
    " AND NOT EXISTS (SELECT 1 FROM contexts c WHERE c.id = w.context_id)"
)


class NoSuchRewind(LookupError):
    """There is no rewind with this id."""


@dataclass(frozen=True)
class WantedRewind:
    """A daemon's group, and what it is to process again."""

    context_id: UUID
    job: str
    env: str
    namespace: str
    target: str
    group: str
    kafka_bootstrap_servers: str | None
    start: datetime
    end: datetime | None
    parts: Sequence[Part]
    rate: float | None = None
    mode: str = "in-place"
    prefix: str = ""
    outputs: Sequence[str] = ()


async def start(tx: Tx, wanted: WantedRewind, *, by: str) -> RewindRow:
    """Writes it down; the leader goes on from there. Raises `Conflict` when the daemon is being rewound already."""
    values = {
        "id": uuid4(), "context_id": wanted.context_id, "job": wanted.job, "env": wanted.env,
        "namespace": wanted.namespace, "target": wanted.target, "group_name": wanted.group,
        "kafka_bootstrap_servers": wanted.kafka_bootstrap_servers, "range_from": wanted.start,
        "range_to": wanted.end, "parts": as_rows(wanted.parts), "rate": wanted.rate, "requested_by": by,
        "mode": wanted.mode, "prefix": wanted.prefix, "outputs": list(wanted.outputs),
    }  # fmt: skip
    made = insert(rewinds).values(**values).on_conflict_do_nothing().returning(*rewinds.c)
    row = (await tx.execute(made)).one_or_none()
    if row is None:
        raise Conflict(
            f"{wanted.job} in {wanted.env} is being rewound already: `kirby rewinds` shows it; wait, or cancel it",
            status="running",
        )
    return row


async def pause(tx: Tx, rewind_id: UUID, *, by: str, reason: str | None = None) -> RewindRow:
    """Its replicas drain and stay down until it is resumed. Raises `Conflict`, `NoSuchRewind`."""
    row = await locked(tx, rewind_id, verb="paused")
    if row.state == "paused" or row.wanted == "cancel":
        raise conflict(row, "paused")
    return await _order(tx, row, "pause", by=by, reason=_why("paused", by, reason))


async def resume(tx: Tx, rewind_id: UUID, *, by: str) -> RewindRow:
    """Goes on where it was. Raises `Conflict`, `NoSuchRewind`."""
    row = await locked(tx, rewind_id, verb="resumed")
    if row.state == "running" or row.wanted != "pause":
        raise conflict(row, "resumed")
    return await _order(tx, row, "run", by=by, reason=None)


async def cancel(tx: Tx, rewind_id: UUID, *, by: str, reason: str | None = None) -> RewindRow:
    """Its replicas drain, and go on live where they were before. Raises `Conflict`, `NoSuchRewind`."""
    row = await locked(tx, rewind_id, verb="cancelled")
    return await _order(tx, row, "cancel", by=by, reason=_why("cancelled", by, reason))


async def throttle(tx: Tx, rewind_id: UUID, *, rate: float | None, by: str) -> RewindRow:
    """At most `rate` messages a second; what runs is drained once for that. Raises `Conflict`, `NoSuchRewind`."""
    row = await locked(tx, rewind_id, verb="throttled")
    if row.state == "running":
        return await _order(tx, row, "run", by=by, reason=None, rate=rate)
    return await amend(tx, row, rate=rate, changed_by=by)


async def amend(tx: Tx, row: RewindRow, **values: Any) -> RewindRow:
    """Writes these columns."""
    mine = update(rewinds).where(rewinds.c.id == row.id).values(**values, rev=row.rev + 1)
    return (await tx.execute(mine.returning(*rewinds.c))).one()


async def read(tx: Tx, rewind_id: UUID, *, lock: bool = False) -> RewindRow | None:
    found = select(rewinds).where(rewinds.c.id == rewind_id)
    return (await tx.execute(found.with_for_update() if lock else found)).one_or_none()


async def going_on(tx: Tx) -> Sequence[RewindRow]:
    """Those that the leader has something to do for, the oldest first."""
    found = select(rewinds).where(rewinds.c.state.in_(WORKING)).order_by(rewinds.c.created_at)
    return (await tx.execute(found)).all()


async def give_up_orphans(tx: Tx) -> int:
    """Ends those whose context was removed; returns how many."""
    count: int = (await tx.execute(_ORPHANS)).rowcount  # type: ignore[attr-defined]
    return count


async def holding(tx: Tx) -> Mapping[UUID, str]:
    """The contexts whose replicas are to be down, and why."""
    found = select(rewinds.c.context_id, rewinds.c.state).where(
        rewinds.c.state.in_(HOLDING), rewinds.c.mode == "in-place"
    )
    return {row.context_id: f"its rewind is {row.state}" for row in await tx.execute(found)}


async def drained(tx: Tx, context_id: UUID) -> bool:
    """Whether no replica of it is there."""
    left: int = (await tx.execute(_NOT_DOWN, {"context": context_id})).scalar_one()
    return left == 0


async def locked(tx: Tx, rewind_id: UUID, *, verb: str, states: Collection[str] = OPEN) -> RewindRow:
    """The rewind, if it is in one of the states. Raises `Conflict`, `NoSuchRewind`."""
    row = await read(tx, rewind_id, lock=True)
    if row is None:
        raise NoSuchRewind(f"there is no rewind {rewind_id}")
    if row.state not in states:
        raise conflict(row, verb)
    return row


async def _order(tx: Tx, row: RewindRow, wanted: str, *, by: str, reason: str | None, **more: Any) -> RewindRow:
    return await amend(
        tx, row, state="draining", wanted=wanted, changed_by=by, reason=reason, drained_at=None, **more
    )  # fmt: skip


def conflict(row: RewindRow, verb: str) -> Conflict:
    """It is in a state in which that can't be done."""
    how = f"being {_DOING[row.wanted]}" if row.state == "draining" and row.wanted != "run" else row.state
    return Conflict(f"rewind {row.id} is {how}: it can't be {verb}; nothing was changed", status=row.state)


_DOING = {"pause": "paused", "cancel": "cancelled"}


def _why(done: str, by: str, reason: str | None) -> str:
    return f"{done} by {by}" + (f": {reason}" if reason else "")
