"""The notebook in PostgreSQL, schema `notifier`."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kirby_notifier.domain.alerts import Alert
from kirby_notifier.domain.attempts import Next, Outcome, State
from kirby_notifier.domain.config import Entity, Gone, Group, Notification
from kirby_notifier.ports import Delivery, Due, Kind, LoggedAttempt

_LOCK_POSITION = text(
    """INSERT INTO notifier.positions AS p (topic, next_offset) VALUES (:topic, 0)
    ON CONFLICT (topic) DO UPDATE SET next_offset = p.next_offset RETURNING next_offset"""
)
_PUT_GROUP = text(
    """INSERT INTO notifier.groups (id, name, emails, webhooks, suite_alerts)
    VALUES (:id, :name, :emails, :webhooks, :suite_alerts)
    ON CONFLICT (id) DO UPDATE SET name = :name, emails = :emails, webhooks = :webhooks,
        suite_alerts = :suite_alerts"""
)
_PUT_NOTIFICATION = text(
    """INSERT INTO notifier.notifications (id, context_id, group_id, on_failure, on_retry)
    VALUES (:id, :context_id, :group_id, :on_failure, :on_retry)
    ON CONFLICT (id) DO UPDATE SET context_id = :context_id, group_id = :group_id, on_failure = :on_failure,
        on_retry = :on_retry"""
)
_NOTE = text("INSERT INTO notifier.noted (source_id, rev) VALUES (:source_id, :rev) ON CONFLICT DO NOTHING")
# Two groups may hold one address: it is told once, in the name of the first group.
_ADD_DELIVERIES = text(
    """INSERT INTO notifier.deliveries (id, type, source_id, run_id, rev, job, env, kind, target, group_name, body)
    SELECT gen_random_uuid(), :type, :source_id, :run_id, :rev, :job, :env, r.kind, r.target, g.name, :body
    FROM notifier.groups g
    CROSS JOIN LATERAL (
        SELECT 'webhook' AS kind, unnest(g.webhooks) AS target UNION ALL SELECT 'email', unnest(g.emails)
    ) r
    WHERE r.kind = ANY(:kinds)
      AND CASE :occasion WHEN 'suite' THEN g.suite_alerts ELSE EXISTS (
        SELECT 1 FROM notifier.notifications n WHERE n.group_id = g.id AND n.context_id = :context_id
          AND CASE :occasion WHEN 'on_failure' THEN n.on_failure ELSE n.on_retry END) END
    ORDER BY g.name, r.kind DESC, r.target
    ON CONFLICT DO NOTHING"""
)
_CLAIM = text(
    """WITH due AS (
        SELECT id FROM notifier.deliveries WHERE state = 'pending' AND next_at <= clock_timestamp()
        ORDER BY next_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE notifier.deliveries d SET attempts = attempts + 1, next_at = clock_timestamp() + cast(:lease AS interval)
        FROM due WHERE d.id = due.id RETURNING d.id, d.kind, d.target, d.body, d.attempts AS attempt
    ), logged AS (
        INSERT INTO notifier.attempts (delivery_id, attempt) SELECT id, attempt FROM claimed
    )
    SELECT * FROM claimed"""
)
_LOG_OUTCOME = text(
    """UPDATE notifier.attempts SET duration_ms = :duration_ms, status = :status, error = :error, response = :response
    WHERE delivery_id = :id AND attempt = :attempt"""
)
_FINISH = text(
    """UPDATE notifier.deliveries SET state = :state, next_at = clock_timestamp() + cast(:delay AS interval)
    WHERE id = :id AND state = 'pending' AND (attempts = :attempt OR :state = 'delivered')"""
)
_DELIVERIES = text(
    """SELECT id, type, run_id, rev, job, env, kind, target, group_name AS "group", state, attempts, created_at,
        CASE state WHEN 'pending' THEN next_at END AS next_at
    FROM notifier.deliveries
    WHERE (cast(:state AS text) IS NULL OR state = :state) AND (cast(:run_id AS uuid) IS NULL OR run_id = :run_id)
      AND (cast(:before AS uuid) IS NULL OR number < (SELECT number FROM notifier.deliveries WHERE id = :before))
    ORDER BY number DESC LIMIT :limit"""
)
_ATTEMPTS = text("SELECT * FROM notifier.attempts WHERE delivery_id = ANY(:ids) ORDER BY delivery_id, attempt")
_PURGE_DELIVERIES = text(
    "DELETE FROM notifier.deliveries"
    " WHERE state <> 'pending' AND created_at < clock_timestamp() - cast(:age AS interval)"
)
_PURGE_NOTED = text("DELETE FROM notifier.noted WHERE at < clock_timestamp() - cast(:age AS interval)")


class PostgresNotebook:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def project(self, entities: Sequence[tuple[int, Entity | None]], *, topic: str, upto: int) -> None:
        async with self._engine.begin() as tx:
            done: int = (await tx.execute(_LOCK_POSITION, {"topic": topic})).scalar_one()
            for offset, entity in entities:
                if offset >= done and entity is not None:
                    await _apply(tx, entity)
            await tx.execute(
                text("UPDATE notifier.positions SET next_offset = greatest(next_offset, :upto) WHERE topic = :topic"),
                {"topic": topic, "upto": upto},
            )

    async def position(self, topic: str) -> int:
        async with self._engine.connect() as tx:
            query = text("SELECT next_offset FROM notifier.positions WHERE topic = :topic")
            return await tx.scalar(query, {"topic": topic}) or 0

    async def reset_position(self, topic: str) -> None:
        async with self._engine.begin() as tx:
            await tx.execute(text("DELETE FROM notifier.positions WHERE topic = :topic"), {"topic": topic})

    async def note(self, alerts: Sequence[Alert], *, kinds: frozenset[Kind]) -> int:
        made = 0
        async with self._engine.begin() as tx:
            for alert in alerts:
                if not (await tx.execute(_NOTE, {"source_id": alert.source_id, "rev": alert.rev})).rowcount:
                    continue
                asked = vars(alert) | {"source_id": alert.source_id, "kinds": sorted(kinds)}
                made += (await tx.execute(_ADD_DELIVERIES, asked)).rowcount
        return made

    async def claim(self, *, limit: int, lease: timedelta) -> Sequence[Due]:
        async with self._engine.begin() as tx:
            return [Due(**row._mapping) for row in await tx.execute(_CLAIM, {"limit": limit, "lease": lease})]

    async def finish(self, due: Due, outcome: Outcome, *, then: Next, took: timedelta) -> None:
        which = {"id": due.id, "attempt": due.attempt}
        told = {
            "duration_ms": round(took.total_seconds() * 1000),
            "status": outcome.status,
            "error": outcome.error,
            "response": outcome.response,
        }
        async with self._engine.begin() as tx:
            await tx.execute(_LOG_OUTCOME, which | told)
            await tx.execute(_FINISH, which | {"state": then.state, "delay": then.delay})

    async def deliveries(
        self, *, state: State | None, run_id: UUID | None, before: UUID | None, limit: int
    ) -> Sequence[Delivery]:
        asked = {"state": state, "run_id": run_id, "before": before, "limit": limit}
        async with self._engine.connect() as tx:
            rows = (await tx.execute(_DELIVERIES, asked)).mappings().all()
            logs: dict[UUID, list[LoggedAttempt]] = {row["id"]: [] for row in rows}
            for attempt in (await tx.execute(_ATTEMPTS, {"ids": list(logs)})).mappings():
                values: dict[str, Any] = dict(attempt)
                logs[values.pop("delivery_id")].append(LoggedAttempt(**values))
        return [Delivery(**row, webhook_id=f"msg_{row['id'].hex}", log=tuple(logs[row["id"]])) for row in rows]

    async def purge(self, *, older_than: timedelta) -> int:
        async with self._engine.begin() as tx:
            gone = await tx.execute(_PURGE_DELIVERIES, {"age": older_than})
            await tx.execute(_PURGE_NOTED, {"age": older_than})
        return gone.rowcount


async def _apply(tx: AsyncConnection, entity: Entity) -> None:
    match entity:
        case Group():
            await tx.execute(_PUT_GROUP, entity.model_dump())
        case Notification():
            await tx.execute(_PUT_NOTIFICATION, entity.model_dump())
        case Gone(kind="notification-group", id=gone):
            await tx.execute(text("DELETE FROM notifier.groups WHERE id = :id"), {"id": gone})
        case Gone(kind="notification", id=gone):
            await tx.execute(text("DELETE FROM notifier.notifications WHERE id = :id"), {"id": gone})
