"""Writing runs: insertion under the unique key, and every transition with its event, in the caller's transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Table, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as pg_insert

from kirby_common import topics
from kirby_common.ledger import outbox
from kirby_common.ledger.contexts import ContextView
from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.tables import Run, RunKey
from kirby_common.ledger.transitions import Status, check
from kirby_common.messages import Envelope, RunChanged, RunChangedV1, RunOffer, RunOfferV1

runs: Table = Run.__table__  # type: ignore[assignment]
_run_keys: Table = RunKey.__table__  # type: ignore[assignment]
RunRow = Row[Any]

_COPIED = (
    "id", "rev", "status", "kind", "job", "env", "namespace", "context_id", "labels", "due_at", "started_at",
    "ended_at", "attempt", "exit_code", "reason", "package_name", "package_version", "worker", "parent_run_id", "log",
)  # fmt: skip


ONLY_ON_LABEL = "kirby.worker"
"""The label that every worker has by itself: its name."""


class StaleRevision(RuntimeError):
    """The run has changed since it was read: read again and decide again."""


@dataclass(frozen=True)
class NewRun:
    """A run to be inserted. `status` is PENDING, or why it will not be run. `policies` and `entry` replace those that
    the context has."""

    id: UUID
    kind: str
    key: str
    context: ContextView
    fire_at: datetime
    due_at: datetime | None = None
    status: Status = Status.PENDING
    reason: str | None = None
    deadline: timedelta | None = None
    startable_at: datetime | None = None
    range_to: datetime | None = None
    range_count: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    args: Sequence[str] | None = None
    entry: str | None = None
    labels: Mapping[str, str] | None = None
    rerun: bool = False
    requested_by: str | None = None
    parent_run_id: UUID | None = None
    occasion: str | None = None
    slot: int | None = None
    generation: int | None = None
    only_on: str | None = None
    backfill_id: UUID | None = None
    policies: Policies | None = None

    @property
    def held(self) -> bool:
        """A backfill's run begins as one that waits until its backfill lets it go."""
        return self.backfill_id is not None


def jittered(due_at: datetime, run_id: UUID, jitter: timedelta) -> datetime:
    """The instant at which the run fires: up to `jitter` after it is due, always the same for one run."""
    share = int.from_bytes(sha256(run_id.bytes).digest()[:4], "big") / 2**32
    return due_at + jitter * share


async def insert_runs(tx: Tx, new: Sequence[NewRun], *, offers_prefix: str) -> list[RunRow]:
    """Inserts those runs whose id is not taken, with their events and offers; returns what was inserted."""
    if not new:
        return []
    taken = pg_insert(_run_keys).values([{"run_id": n.id} for n in new]).on_conflict_do_nothing()
    fresh = set((await tx.execute(taken.returning(_run_keys.c.run_id))).scalars())
    values = [_values(n) for n in new if n.id in fresh]
    if not values:
        return []
    rows = list((await tx.execute(insert(runs).returning(*runs.c), values)).all())
    daemons = {n.id for n in new if n.context.type == "daemon"}
    messages: list[tuple[str, str, Envelope | None]] = []
    for row in rows:
        messages.append(change_event(row, previous=None))
        if row.status == Status.PENDING and not row.held:
            messages.append(offer(row, daemon=row.id in daemons, offers_prefix=offers_prefix))
    await outbox.put_all(tx, messages)
    return rows


def _values(n: NewRun) -> dict[str, Any]:
    c = n.context
    policies = n.policies or c.policies
    if n.only_on is not None:
        only = {**policies.worker_labels, ONLY_ON_LABEL: n.only_on}
        policies = policies.model_copy(update={"worker_labels": only})
    startable_at = n.startable_at or n.fire_at
    deadline = policies.start_deadline if n.deadline is None else n.deadline
    is_daemon = n.kind == "daemon"
    return {
        "id": n.id, "status": n.status, "kind": n.kind, "key": n.key, "context_id": c.id, "job_id": c.job_id,
        "environment_id": c.environment_id, "job": c.job, "env": c.env, "namespace": c.namespace,
        "labels": dict(c.labels if n.labels is None else n.labels), "pool": c.pool, "priority": policies.priority,
        "script_id": c.script_id, "lock_id": c.lock_id, "package_name": c.package_name or "",
        "package_version": c.package_version or "", "entry": n.entry or c.entry,
        "args": list(c.args if n.args is None else n.args), "variables": dict(n.variables),
        "policies": policies.model_dump(mode="json"), "due_at": n.due_at, "fire_at": n.fire_at,
        "startable_at": None if n.held else startable_at,
        "deadline_at": None if is_daemon or n.held else startable_at + deadline,
        "backfill_id": n.backfill_id, "held": n.held,
        "range_to": n.range_to, "range_count": n.range_count, "rerun": n.rerun, "reason": n.reason,
        "requested_by": n.requested_by, "parent_run_id": n.parent_run_id,
        "occasion": n.occasion, "slot": n.slot,
        "generation": n.generation,
    }  # fmt: skip


async def read(tx: Tx, run_id: UUID, *, lock: bool = False) -> RunRow | None:
    """The run with this id, or None; with `lock`, FOR UPDATE."""
    statement = select(runs).where(runs.c.id == run_id)
    if lock:
        statement = statement.with_for_update()
    return (await tx.execute(statement)).one_or_none()


async def transition(tx: Tx, run: RunRow, to: Status, **changes: Any) -> RunRow:
    """Moves the run to `to`, with its event. Raises `StaleRevision`, `NotAllowed`."""
    check(Status(run.status), to)
    return await _write(tx, run, {"status": to, **changes})


async def transition_locked(tx: Tx, rows: Sequence[RunRow], to: Status, **changes: Any) -> list[RunRow]:
    """Moves runs that the caller has locked to `to`, all in one statement, with their events.

    A value of `changes` may be an SQL expression over the run's own columns.
    """
    if not rows:
        return []
    before = {row.id: row.status for row in rows}
    for status in set(before.values()):
        check(Status(status), to)
    statement = (
        update(runs)
        .where(runs.c.id.in_(before), tuple_(runs.c.id, runs.c.rev).in_([(row.id, row.rev) for row in rows]))
        .values(status=to, rev=runs.c.rev + 1, **changes)
        .returning(*runs.c)
    )
    moved = list((await tx.execute(statement)).all())
    if len(moved) != len(rows):
        raise StaleRevision("a run that was to be locked has changed")
    await outbox.put_all(tx, [change_event(row, previous=before[row.id]) for row in moved])
    return moved


async def amend(tx: Tx, run: RunRow, **changes: Any) -> RunRow:
    """Changes fields of the run but not its status, with an event. Raises `StaleRevision`."""
    return await _write(tx, run, changes)


async def _write(tx: Tx, run: RunRow, changes: dict[str, Any]) -> RunRow:
    statement = (
        update(runs)
        .where(runs.c.id == run.id, runs.c.created_at == run.created_at, runs.c.rev == run.rev)
        .values(rev=run.rev + 1, **changes)
        .returning(*runs.c)
    )
    row = (await tx.execute(statement)).one_or_none()
    if row is None:
        raise StaleRevision(f"run {run.id} is no longer at rev {run.rev}")
    await outbox.put_all(tx, [change_event(row, previous=run.status)])
    return row


def change_event(row: RunRow, *, previous: str | None) -> tuple[str, str, Envelope]:
    """The event that tells what the run has become, as an outbox message."""
    fields = {name if name != "id" else "run_id": getattr(row, name) for name in _COPIED}
    data = RunChanged(**fields, grant=row.grant_no, previous=previous)
    return topics.RUN_EVENTS, str(row.id), RunChangedV1(source="kirby/ledger", subject=str(row.id), data=data)


def offer(row: RunRow, *, daemon: bool, offers_prefix: str) -> tuple[str, str, Envelope]:
    """The wake-up for a run, as an outbox message."""
    topic = topics.daemon_offers(offers_prefix) if daemon else topics.scheduled_offers(offers_prefix)
    data = RunOffer(
        run_id=row.id,
        pool=row.pool,
        due_at=row.due_at,
        package_name=row.package_name,
        package_version=row.package_version,
        lock_id=row.lock_id,
    )
    return topic, str(row.id), RunOfferV1(source="kirby/ledger", subject=str(row.id), data=data)
