"""Missed marks as rows: what should be and is not is one alert, told once, and told once more when it is over.

Whoever watches says what it sees now; `settle` compares that with the open alerts of the kinds it watches, and
writes the difference with its messages in the watcher's transaction. So nothing is told twice or lost when the
watcher changes.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Table, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from kirby_common import topics
from kirby_common.ledger import outbox
from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.tables import Alert
from kirby_common.messages import MarkMissed, MarkMissedV1, MarkRecovered, MarkRecoveredV1

alerts: Table = Alert.__table__  # type: ignore[assignment]
AlertRow = Row[Any]


class AlertKind(StrEnum):
    DUE_TIME_MISSED = "due_time_missed"
    RUN_TOO_LONG = "run_too_long"
    DAEMON_SHORT = "daemon_short"
    DAEMON_CRASH_LOOPING = "daemon_crash_looping"
    DAEMON_STALLED = "daemon_stalled"
    POOL_EMPTY = "pool_empty"
    TOPIC_STALE = "topic_stale"
    NO_LEADER = "no_leader"
    NO_SUPERVISOR = "no_supervisor"


@dataclass(frozen=True)
class Condition:
    """Something that should be and is not, as it is seen now. It is told when it has lasted for `grace`.

    `reason` must stay the same while nothing changes: it says since when, not for how long.
    """

    kind: AlertKind
    subject: str
    reason: str
    grace: timedelta = timedelta(0)
    since: datetime | None = None
    env: str | None = None
    job: str | None = None
    context_id: UUID | None = None
    run_id: UUID | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.subject


@dataclass(frozen=True)
class Standing:
    """An alert that is open in the ledger."""

    id: UUID
    kind: str
    subject: str
    opened_at: datetime
    told: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.subject


@dataclass(frozen=True)
class Steps:
    """What to write: begin watching, tell, tell as over, and forget what was over before it was worth telling."""

    open: list[Condition] = field(default_factory=list)
    tell: list[tuple[Standing, Condition]] = field(default_factory=list)
    close: list[Standing] = field(default_factory=list)
    forget: list[Standing] = field(default_factory=list)


def steps(standing: Iterable[Standing], seen: Iterable[Condition], *, now: datetime) -> Steps:
    """The difference between what is written down and what is seen. Pure."""
    open_now = {s.key: s for s in standing}
    seen_now = {c.key: c for c in seen}
    made = Steps(open=[c for key, c in seen_now.items() if key not in open_now])
    for key, each in open_now.items():
        condition = seen_now.get(key)
        if condition is None:
            (made.close if each.told else made.forget).append(each)
        elif not each.told and now - each.opened_at >= condition.grace:
            made.tell.append((each, condition))
    return made


async def settle(
    tx: Tx,
    seen: Sequence[Condition],
    *,
    kinds: Collection[AlertKind],
    now: datetime,
    source: str,
    unknown: Collection[str] = (),
) -> int:
    """Brings the alerts of `kinds` in line with what is seen; returns how many messages that made.

    Of the subjects in `unknown` nothing could be found out: their alerts stay as they are.
    """
    standing = {(r.kind, r.subject): r for r in await _open(tx, kinds) if r.subject not in unknown}
    made = steps([_standing(r) for r in standing.values()], seen, now=now)
    told = [await _begin(tx, c, now=now, source=source) for c in made.open]
    for each, condition in made.tell:
        await _tell(tx, each.id, condition, opened_at=each.opened_at, now=now, source=source)
    for each in made.close:
        await _close(tx, standing[each.key], now=now, source=source)
    if made.forget:
        await tx.execute(delete(alerts).where(alerts.c.id.in_([each.id for each in made.forget])))
    for condition in seen:
        row = standing.get(condition.key)
        if row is not None and (row.reason, row.detail) != (condition.reason, condition.detail):
            changed = update(alerts).where(alerts.c.id == row.id)
            await tx.execute(changed.values(reason=condition.reason, detail=condition.detail))
    return sum(told) + len(made.tell) + len(made.close)


async def open_alerts(tx: Tx, kind: AlertKind) -> Sequence[AlertRow]:
    """The open ones of a kind, locked."""
    return await _open(tx, [kind])


async def _open(tx: Tx, kinds: Collection[AlertKind]) -> Sequence[AlertRow]:
    mine = select(alerts).where(alerts.c.kind.in_(kinds), alerts.c.closed_at.is_(None))
    return (await tx.execute(mine.order_by(alerts.c.id).with_for_update())).all()


def _standing(row: AlertRow) -> Standing:
    return Standing(row.id, row.kind, row.subject, row.opened_at, told=row.told_at is not None)


async def _begin(tx: Tx, condition: Condition, *, now: datetime, source: str) -> bool:
    """Writes a new alert down, and tells it at once when it has lasted already; whether it was told."""
    opened_at = condition.since or now
    fresh = insert(alerts).values(
        kind=condition.kind, subject=condition.subject, reason=condition.reason, env=condition.env,
        job=condition.job, context_id=condition.context_id, run_id=condition.run_id, detail=condition.detail,
        opened_at=opened_at,
    )  # fmt: skip
    made = (await tx.execute(fresh.on_conflict_do_nothing().returning(alerts.c.id))).scalar_one_or_none()
    if made is None or now - opened_at < condition.grace:
        return False
    await _tell(tx, made, condition, opened_at=opened_at, now=now, source=source)
    return True


async def _tell(
    tx: Tx, alert_id: UUID, condition: Condition, *, opened_at: datetime, now: datetime, source: str
) -> None:
    await tx.execute(update(alerts).where(alerts.c.id == alert_id).values(told_at=now, rev=1))
    data = MarkMissed(
        alert_id=alert_id, kind=condition.kind, subject=condition.subject, reason=condition.reason,
        env=condition.env, job=condition.job, context_id=condition.context_id, run_id=condition.run_id,
        detail=condition.detail, opened_at=opened_at,
    )  # fmt: skip
    message = MarkMissedV1(source=source, subject=condition.subject, data=data)
    await outbox.put(tx, topic=topics.ALERTS, key=condition.subject, message=message)


async def _close(tx: Tx, row: AlertRow, *, now: datetime, source: str) -> None:
    await tx.execute(update(alerts).where(alerts.c.id == row.id).values(closed_at=now, rev=2))
    data = MarkRecovered(
        alert_id=row.id, kind=row.kind, subject=row.subject, reason=row.reason, opened_at=row.opened_at,
        closed_at=now, env=row.env, job=row.job, context_id=row.context_id, run_id=row.run_id,
    )  # fmt: skip
    message = MarkRecoveredV1(source=source, subject=row.subject, data=data)
    await outbox.put(tx, topic=topics.ALERTS, key=row.subject, message=message)
