"""Missed marks that the leader watches: due times, long runs, pools, daemons."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from kirby_common.ledger import daemons, health
from kirby_common.ledger.alerts import AlertKind, AlertRow, Condition, open_alerts, settle
from kirby_common.ledger.health import DaemonVerdict, Health
from kirby_common.ledger.materialise import database_now
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from kirby_scheduler.term import Term

_WATCHED = (
    AlertKind.DUE_TIME_MISSED,
    AlertKind.RUN_TOO_LONG,
    AlertKind.POOL_EMPTY,
    AlertKind.DAEMON_SHORT,
    AlertKind.DAEMON_CRASH_LOOPING,
    AlertKind.DAEMON_STALLED,
)
_BATCH = 5000
_FORGET_MISSES_AFTER = timedelta(days=1)

_NEW_MISSES = text(
    "UPDATE runs SET missed_told = true WHERE (id, created_at) IN (SELECT id, created_at FROM runs"
    " WHERE status = 'MISSED' AND NOT missed_told LIMIT :batch FOR UPDATE SKIP LOCKED)"
    " RETURNING id, context_id, job, env, coalesce(due_at, fire_at) AS due_at, coalesce(range_count, 1) AS count,"
    " reason"
)
_STILL_MISSING = text(
    "SELECT c.id FROM unnest(CAST(:contexts AS uuid[]), CAST(:noted AS timestamptz[])) AS missed(context_id, noted)"
    " JOIN contexts c ON c.id = missed.context_id JOIN jobs j ON j.id = c.job_id"
    " JOIN environments e ON e.id = c.environment_id"
    " WHERE c.state = 'enabled' AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.job = j.name AND r.env = e.name"
    " AND r.context_id = c.id AND r.created_at > missed.noted - interval '1 day' AND r.started_at > missed.noted)"
)
_TOO_LONG = text(
    "SELECT id, context_id, job, env, policies ->> 'max_duration' AS longest FROM runs"
    " WHERE status = 'RUNNING' AND kind <> 'daemon' AND policies ->> 'max_duration' IS NOT NULL"
    " AND started_at + CAST(policies ->> 'max_duration' AS interval) < clock_timestamp()"
)
_EMPTY_POOLS = text(
    "WITH live AS (SELECT pool FROM workers WHERE NOT gone"
    "  AND last_beat_at > clock_timestamp() - make_interval(secs => :patience))"
    " SELECT c.pool, count(*) AS contexts FROM contexts c JOIN environments e ON e.id = c.environment_id"
    " WHERE c.state = 'enabled' AND NOT c.paused AND NOT e.paused AND c.pool NOT IN (SELECT pool FROM live)"
    " AND EXISTS (SELECT 1 FROM live) GROUP BY c.pool"
)


async def watch(term: Term, *, lease: timedelta, grace: timedelta) -> int:
    """One pass; returns how many messages it made. Raises `Deposed`."""
    async with term.transaction() as tx:
        now = await database_now(tx)
        seen = [
            *await _missed(tx, now),
            *await _too_long(tx),
            *await _empty_pools(tx, lease=lease, grace=grace),
            *await _daemons(tx, now, lease=lease, grace=grace),
        ]
        return await settle(tx, seen, kinds=_WATCHED, now=now, source="kirby/scheduler")


async def _missed(tx: AsyncConnection, now: datetime) -> list[Condition]:
    """One condition per context with missed due times; it lasts until a run of the context has started since."""
    standing = await _not_over(tx, await open_alerts(tx, AlertKind.DUE_TIME_MISSED), now)
    found = {alert.context_id: alert.detail for alert in standing}
    labels = {alert.context_id: (alert.job, alert.env) for alert in standing}
    for row in sorted(await tx.execute(_NEW_MISSES, {"batch": _BATCH}), key=lambda r: r.due_at):
        found[row.context_id] = _with(found.get(row.context_id), row, now)
        labels[row.context_id] = (row.job, row.env)
    return [_misses(context_id, *labels[context_id], detail) for context_id, detail in found.items()]


async def _not_over(tx: AsyncConnection, standing: Sequence[AlertRow], now: datetime) -> list[AlertRow]:
    recent = {a.context_id: a for a in standing if now - _noted(a) < _FORGET_MISSES_AFTER}
    asked = {"contexts": list(recent), "noted": [_noted(a) for a in recent.values()]}
    lasting = set((await tx.execute(_STILL_MISSING, asked)).scalars()) if recent else set()
    return [a for context_id, a in recent.items() if context_id in lasting]


def _noted(alert: AlertRow) -> datetime:
    return datetime.fromisoformat(alert.detail["noted_at"])


def _with(detail: dict[str, Any] | None, row: Row[Any], now: datetime) -> dict[str, Any]:
    before = detail or {"count": 0, "first": row.due_at.isoformat()}
    return {
        **before, "count": before["count"] + row.count, "last": row.due_at.isoformat(), "why": row.reason,
        "noted_at": now.isoformat(), "run_id": str(row.id),
    }  # fmt: skip


def _misses(context_id: UUID, job: str, env: str, detail: dict[str, Any]) -> Condition:
    count = detail["count"]
    last = datetime.fromisoformat(detail["last"]).strftime("%Y-%m-%d %H:%M:%S UTC")
    what = f"the due time {last} was" if count == 1 else f"{count} due times up to {last} were"
    return Condition(
        AlertKind.DUE_TIME_MISSED, f"context/{job}@{env}", f"{what} missed: {detail['why']}", job=job, env=env,
        context_id=context_id, run_id=UUID(detail["run_id"]), detail=detail,
    )  # fmt: skip


async def _too_long(tx: AsyncConnection) -> list[Condition]:
    return [
        Condition(
            AlertKind.RUN_TOO_LONG, f"run/{r.id}", f"runs longer than the {r.longest} that it should take", job=r.job,
            env=r.env, context_id=r.context_id, run_id=r.id,
        )
        for r in await tx.execute(_TOO_LONG)
    ]  # fmt: skip


async def _empty_pools(tx: AsyncConnection, *, lease: timedelta, grace: timedelta) -> list[Condition]:
    """Pools that enabled contexts need and no live worker is in; that none is alive at all is told by the watchman."""
    rows = await tx.execute(_EMPTY_POOLS, {"patience": lease.total_seconds() * 1.25})
    return [
        Condition(
            AlertKind.POOL_EMPTY, f"pool/{r.pool}", f"no live worker in pool {r.pool}; {r.contexts} contexts need one",
            grace=grace, detail={"pool": r.pool, "contexts": r.contexts},
        )
        for r in rows
    ]  # fmt: skip


async def _daemons(tx: AsyncConnection, now: datetime, *, lease: timedelta, grace: timedelta) -> list[Condition]:
    found = []
    for daemon in await daemons.load(tx):
        verdict = health.judge(daemon.facts, lease=lease, now=now)
        mark = _daemon_mark(verdict, grace)
        if mark is not None:
            condition = replace(
                mark, subject=f"daemon/{daemon.job}@{daemon.env}", job=daemon.job, env=daemon.env,
                context_id=daemon.context_id, detail={"live": verdict.live, "wanted": verdict.wanted},
            )  # fmt: skip
            found.append(condition)
    return found


def _daemon_mark(verdict: DaemonVerdict, grace: timedelta) -> Condition | None:
    """One cause is one alert: what loops is not told as short of replicas too."""
    if verdict.health is Health.CRASH_LOOPING:
        return Condition(AlertKind.DAEMON_CRASH_LOOPING, "", verdict.reason)
    if verdict.live < verdict.wanted:
        short = f"{verdict.live} of {verdict.wanted} replicas live"
        return Condition(AlertKind.DAEMON_SHORT, "", short, grace=grace)
    if verdict.health is Health.STALLED:
        return Condition(AlertKind.DAEMON_STALLED, "", verdict.reason)
    return None
