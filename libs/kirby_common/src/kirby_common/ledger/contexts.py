"""Contexts as the ledger reads them: everything that decides a context's due times and the runs made of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.policies import Policies, merged
from kirby_common.ledger.walk import Rules
from kirby_common.ledger.windows import Window
from kirby_common.schedules import Dst, ScheduleSpec

_SCHEDULES = """coalesce((SELECT jsonb_agg(jsonb_build_object('id', d.id, 'kind', d.kind, 'expr', d.expr, 'tz', d.tz,
                 'dst', d.dst, 'every_ms', d.every_ms, 'anchor', d.anchor, 'at', d.at) ORDER BY d.id)
                 FROM context_schedules x JOIN schedules d ON d.id = x.schedule_id WHERE x.context_id = c.id),
                '[]'::jsonb)"""

_NAMED = """(SELECT 'context' AS scope, c.id::text AS ref
              UNION ALL SELECT 'job', j.id::text
              UNION ALL SELECT 'environment', e.id::text
              UNION ALL SELECT 'label', l.key || '=' || l.value FROM jsonb_each_text(j.labels) l
              UNION ALL SELECT 'schedule', x.schedule_id::text FROM context_schedules x WHERE x.context_id = c.id)"""
"""What an exception may be on to cover the context."""

_WINDOWS = f"""coalesce((SELECT jsonb_agg(jsonb_build_object('id', w.id, 'start', w.start, 'end', w."end",
                 'effect', w.effect, 'every_nth', w.every_nth, 'cron', w.cron, 'recurrence', w.recurrence,
                 'lasts_ms', w.lasts_ms, 'tz', w.tz, 'scope', w.scope, 'ref', w.scope_ref, 'made', w.created_at,
                 'reason', w.reason, 'author', w.author) ORDER BY w.id)
                 FROM {_NAMED} AS named
                 CROSS JOIN LATERAL (SELECT * FROM schedule_exceptions x
                                     WHERE x.scope = named.scope AND x.scope_ref = named.ref OFFSET 0) AS w
                 WHERE w."end" IS NULL OR w."end" > least(c.horizon, clock_timestamp())),
                '[]'::jsonb)"""
"""Those that are not over for the due times that are still to be judged.

One probe of the index per thing that the context is named by (OFFSET 0 keeps it so), however many exceptions there are.
"""

_SELECT = f"""
SELECT c.id, c.rev, c.state, c.horizon, c.next_due_at, c.paused, c.pause_reason, c.paused_by, c.pool, c.args,
       c.policies AS context_policies, c.replicas, c.per_worker, c.set_aside,
       j.id AS job_id, j.name AS job, j.type, j.namespace, j.labels, j.policies AS job_policies, j."group",
       j.exclusive, j.kafka, j.paused AS job_paused, j.pause_reason AS job_pause_reason, j.paused_by AS job_paused_by,
       e.id AS environment_id, e.name AS env, e.paused AS env_paused, e.pause_reason AS env_pause_reason,
       e.paused_by AS env_paused_by, e.topic_prefix, e.kafka_bootstrap_servers,
       s.id AS script_id, s.package_name, s.package_version, s.entry,
       l.id AS lock_id, l.status AS lock_status, l.error AS lock_error,
       {_SCHEDULES} AS schedules,
       {_WINDOWS} AS windows
FROM contexts c
JOIN jobs j ON j.id = c.job_id
JOIN environments e ON e.id = c.environment_id
LEFT JOIN scripts s ON s.id = c.script_id
LEFT JOIN locks l ON l.package_name = s.package_name AND l.package_version = s.package_version
"""

FINGERPRINTS = f"""
SELECT c.id, md5(ROW(c.state, c.script_id, c.paused, c.pool, c.args, c.policies, c.replicas, j.policies, j.labels,
                     j.paused, e.paused, l.id, {_SCHEDULES}, {_WINDOWS})::text) AS digest
FROM contexts c
JOIN jobs j ON j.id = c.job_id
JOIN environments e ON e.id = c.environment_id
LEFT JOIN scripts s ON s.id = c.script_id
LEFT JOIN locks l ON l.package_name = s.package_name AND l.package_version = s.package_version
"""


@dataclass(frozen=True)
class ContextView:
    """A context with its job, environment, script and rules."""

    id: UUID
    rev: int
    state: str
    horizon: datetime | None
    next_due_at: datetime | None
    paused: bool
    pool: str
    args: list[str]
    replicas: int
    per_worker: bool
    job_id: UUID
    job: str
    type: str
    namespace: str
    labels: dict[str, str]
    group: str | None
    exclusive: bool | None
    kafka: str
    environment_id: UUID
    env: str
    topic_prefix: str
    kafka_bootstrap_servers: str | None
    script_id: UUID | None
    package_name: str | None
    package_version: str | None
    entry: str | None
    lock_id: UUID | None
    lock_status: str | None
    lock_error: str | None
    raw: dict[str, Any]

    @cached_property
    def policies(self) -> Policies:
        """Raises pydantic's ValidationError: the tick sets such a context aside."""
        return merged(self.raw["job_policies"], self.raw["context_policies"])

    @cached_property
    def rules(self) -> Rules:
        """Raises ValueError when something in it can't be read."""
        return Rules(
            schedules=[schedule_of(row) for row in self.raw["schedules"]],
            policies=self.policies,
            paused=pause_reason(self.raw),
            windows=[_window(row) for row in self.raw["windows"]],
        )

    @property
    def exclusive_daemon(self) -> bool:
        """Whether two replicas of one slot must never be alive at once; by default: without a group."""
        return self.exclusive if self.exclusive is not None else self.group is None

    @property
    def settings_digest(self) -> str:
        """Of all that a generation of a daemon is started with, besides its version. Raises as `policies`."""
        told = [self.args, self.pool, self.group, self.exclusive, self.policies.model_dump(mode="json")]
        return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def pause_reason(raw: dict[str, Any]) -> str | None:
    """Who paused the context, its job or its environment, and why; None when nobody did."""
    for subject, prefix in ((f"environment {raw['env']} is ", "env_"), (f"job {raw['job']} is ", "job_"), ("", "")):
        if raw[f"{prefix}paused"]:
            by = f" by {raw[f'{prefix}paused_by']}" if raw[f"{prefix}paused_by"] else ""
            return f"{subject}paused{by}: {raw[f'{prefix}pause_reason'] or 'no reason given'}"
    return None


def schedule_of(row: dict[str, Any]) -> ScheduleSpec:
    """A schedule as the ledger's queries give it."""
    return ScheduleSpec(
        kind=row["kind"],
        expr=row["expr"],
        tz=row["tz"],
        dst=Dst(row["dst"]),
        every=None if row["every_ms"] is None else timedelta(milliseconds=row["every_ms"]),
        anchor=_time(row["anchor"]),
        at=_time(row["at"]),
        id=row["id"],
    )


def _window(row: dict[str, Any]) -> Window:
    start = _time(row["start"])
    assert start is not None
    return Window(
        id=row["id"],
        effect=row["effect"],
        start=start,
        end=_time(row["end"]),
        reason=row["reason"],
        author=row["author"],
        every_nth=row["every_nth"],
        cron=row["cron"],
        recurrence=row["recurrence"],
        lasts=None if row["lasts_ms"] is None else timedelta(milliseconds=row["lasts_ms"]),
        tz=row["tz"],
        scope=row["scope"],
        schedule=row["ref"] if row["scope"] == "schedule" else None,
        made=_time(row["made"]),
    )


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


_FIELDS = [name for name in ContextView.__dataclass_fields__ if name != "raw"]


async def _load(tx: Tx, where: str, parameters: dict[str, Any]) -> list[ContextView]:
    statement = text(_SELECT + where)
    if "ids" in parameters:
        statement = statement.bindparams(bindparam("ids", type_=ARRAY(Uuid)))
    rows = (await tx.execute(statement, parameters)).mappings().all()
    return [ContextView(**{name: row[name] for name in _FIELDS}, raw=dict(row)) for row in rows]


async def load(tx: Tx, ids: Sequence[UUID]) -> list[ContextView]:
    """The contexts with these ids, in id order."""
    return await _load(tx, "WHERE c.id = ANY(:ids) ORDER BY c.id", {"ids": list(ids)})


async def fingerprints(tx: Tx) -> dict[UUID, str]:
    """A digest per context of everything that decides its due times and what they run."""
    rows = await tx.execute(text(FINGERPRINTS))
    return {row.id: row.digest for row in rows}


async def load_due(tx: Tx, *, until: datetime, now: datetime, limit: int) -> list[ContextView]:
    """Enabled scheduled contexts with a due time to be written down at or before `until`, the earliest first.

    Those that an outage has left behind come last, so that catching up keeps nothing else waiting.
    """
    return await _load(
        tx,
        "WHERE c.state = 'enabled' AND j.type = 'scheduled' AND c.set_aside IS NULL"
        " AND c.next_due_at <= :until AND (NOT c.held OR c.next_due_at <= :now)"
        " ORDER BY c.next_due_at < :now - interval '1 minute', c.next_due_at LIMIT :limit",
        {"until": until, "now": now, "limit": limit},
    )


async def covered(tx: Tx, *, scope: str, ref: str, limit: int) -> list[ContextView]:
    """Scheduled contexts, enabled or about to be, that an exception on `ref` covers; the one that is due next first."""
    return await _load(
        tx,
        "WHERE c.state <> 'disabled' AND j.type = 'scheduled' AND c.set_aside IS NULL"
        f" AND (CAST(:scope AS text), CAST(:ref AS text)) IN (SELECT named.scope, named.ref FROM {_NAMED} AS named)"
        " ORDER BY c.next_due_at, c.id LIMIT :limit",
        {"scope": scope, "ref": ref, "limit": limit},
    )


async def load_daemons(tx: Tx) -> list[ContextView]:
    """All daemon contexts that are enabled or still have a slot that is not down."""
    return await _load(
        tx,
        "WHERE j.type = 'daemon' AND (c.state = 'enabled' OR EXISTS (SELECT 1 FROM daemon_slots d"
        " WHERE d.context_id = c.id AND d.state <> 'DOWN')) ORDER BY c.id",
        {},
    )
