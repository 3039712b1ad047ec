"""Claims: which waiting runs a worker gets, and everything it needs to prepare them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from kirby.shadowing import names
from kirby_common import assertions
from kirby_common.ledger import contexts, outbox, shadows
from kirby_common.ledger.attempts import attempts
from kirby_common.ledger.contexts import ContextView
from kirby_common.ledger.locks import locks
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.runs import ONLY_ON_LABEL, RunRow, change_event, runs
from kirby_common.ledger.transitions import Status
from kirby_common.worker_protocol import ClaimRequest, RunGrant
from sqlalchemy import ColumnElement, Row, cast, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

CLAIM_AHEAD = timedelta(seconds=6)
_TOKEN_DAYS = 30
_SCHEDULED_GRACE = timedelta(seconds=10)
_DAEMON_GRACE = timedelta(seconds=30)

# In the statement that takes, which saves the many claims that find nothing a round trip.
_NOW: ColumnElement[datetime] = func.clock_timestamp()

_VARIABLES = text(
    "SELECT k.name, k.value, k.job_id, k.context_id FROM config_keys k"
    " WHERE k.scope = 'global' OR k.job_id = ANY(:jobs) OR k.context_id = ANY(:contexts)"
)


async def claim(tx: AsyncConnection, worker: Row[Any], request: ClaimRequest, *, secret_key: str) -> list[RunGrant]:
    """Grants up to `k` runs. A repeated claim id gets what it got before and still holds."""
    granted = await _granted_before(tx, worker, request.claim_id) if request.again else []
    if not granted and request.k:
        granted = await _take(tx, worker, request)
    return await _grants(tx, granted, secret_key=secret_key)


async def _granted_before(tx: AsyncConnection, worker: Row[Any], claim_id: UUID) -> Sequence[RunRow]:
    statement = select(runs).where(
        runs.c.claim_id == claim_id,
        runs.c.incarnation == worker.incarnation,
        runs.c.status == Status.CLAIMED,
        runs.c.id.in_(select(attempts.c.run_id).where(attempts.c.claim_id == claim_id)),
    )
    return (await tx.execute(statement)).all()


async def _take(tx: AsyncConnection, worker: Row[Any], request: ClaimRequest) -> Sequence[RunRow]:
    labels = cast({**request.labels, ONLY_ON_LABEL: worker.name}, JSONB)
    waiting = (
        select(runs.c.id)
        .join(
            locks,
            (locks.c.package_name == runs.c.package_name) & (locks.c.package_version == runs.c.package_version),
        )
        .where(
            runs.c.status == Status.PENDING,
            runs.c.pool == request.pool,
            runs.c.fire_at <= _NOW + CLAIM_AHEAD,
            runs.c.startable_at <= _NOW + CLAIM_AHEAD,
            runs.c.deadline_at.is_(None) | (runs.c.deadline_at > _NOW),
            locks.c.status == "ready",
            runs.c.policies["worker_labels"].op("<@")(labels),
        )
        .order_by(
            # What is due now goes before the past.
            runs.c.kind == "backfill",
            runs.c.fire_at,
            runs.c.priority.desc(),
            runs.c.lock_id.in_(request.venvs).desc(),
            runs.c.id,
        )
        .limit(request.k)
        .with_for_update(of=runs, skip_locked=True)
    )
    ids = list((await tx.execute(waiting)).scalars())
    if not ids:
        return []
    statement = (
        update(runs)
        .where(runs.c.id.in_(ids), runs.c.status == Status.PENDING)
        .values(
            status=Status.CLAIMED,
            rev=runs.c.rev + 1,
            grant_no=runs.c.grant_no + 1,
            worker=worker.name,
            incarnation=worker.incarnation,
            claim_id=request.claim_id,
        )
        .returning(*runs.c)
    )
    taken = (await tx.execute(statement)).all()
    holder = {"worker": worker.name, "incarnation": worker.incarnation, "host": worker.host, "boot_id": worker.boot_id}
    rows = [
        {"run_id": r.id, "grant_no": r.grant_no, "status": "CLAIMED", "claim_id": request.claim_id, **holder}
        for r in taken
    ]
    await tx.execute(insert(attempts), rows)
    await outbox.put_all(tx, [change_event(r, previous=Status.PENDING) for r in taken])
    return sorted(taken, key=lambda r: (r.fire_at, -r.priority))


async def _grants(tx: AsyncConnection, rows: Sequence[RunRow], *, secret_key: str) -> list[RunGrant]:
    if not rows:
        return []
    now = await database_now(tx)
    found = {c.id: c for c in await contexts.load(tx, list({r.context_id for r in rows}))}
    variables = await _variables(tx, list(found.values()))
    versions = select(locks).where(locks.c.package_name.in_({r.package_name for r in rows}))
    by_version = {(k.package_name, k.package_version): k for k in await tx.execute(versions)}
    return [
        _grant(
            r, found[r.context_id], by_version[r.package_name, r.package_version], variables[r.context_id],
            now=now, secret_key=secret_key,
        )
        for r in rows
    ]  # fmt: skip


async def _variables(tx: AsyncConnection, views: Sequence[ContextView]) -> dict[UUID, dict[str, str]]:
    """The configured variables of each context: global, then the job's, then its own."""
    rows = (await tx.execute(_VARIABLES, {"jobs": [c.job_id for c in views], "contexts": [c.id for c in views]})).all()
    merged: dict[UUID, dict[str, str]] = {}
    for c in views:
        layers: tuple[dict[str, str], ...] = (
            {r.name: r.value for r in rows if r.job_id is None and r.context_id is None},
            {r.name: r.value for r in rows if r.job_id == c.job_id},
            {r.name: r.value for r in rows if r.context_id == c.id},
        )
        merged[c.id] = {**layers[0], **layers[1], **layers[2]}
    return merged


def _grant(
    run: RunRow, context: ContextView, lock: Row[Any], configured: Mapping[str, str], *, now: datetime, secret_key: str
) -> RunGrant:
    policies = Policies.model_validate(run.policies)
    daemon = context.type == "daemon"
    variables = {**configured, **run.variables}
    if run.kind != shadows.KIND:
        # As any of Kirby's own names nobody else may set it: a live script would write beside what is live.
        variables.pop(names.VARIABLE, None)
    grace = policies.grace or (_DAEMON_GRACE if daemon else _SCHEDULED_GRACE)
    due = max(run.fire_at, run.startable_at or run.fire_at)
    claims = {
        "run_id": str(run.id), "grant": run.grant_no, "context_id": str(context.id), "job": context.job,
        "env": context.env, "namespace": context.namespace,
    }  # fmt: skip
    return RunGrant(
        run_id=run.id, grant=run.grant_no, rev=run.rev, kind=run.kind, job=run.job, env=run.env,
        job_type="daemon" if daemon else "scheduled", namespace=run.namespace, labels=run.labels,
        due_at=run.due_at or run.fire_at, due_in_ms=_ms(due - now),
        deadline_in_ms=None if run.deadline_at is None else _ms(run.deadline_at - now),
        package_name=run.package_name, package_version=run.package_version, entry=run.entry,
        script_id=run.script_id, lock_id=lock.id, lock_text=lock.lock_text, requires_python=lock.requires_python,
        variables={k: v for k, v in variables.items() if not v.startswith("secret://")},
        secret_refs={k: v for k, v in variables.items() if v.startswith("secret://")},
        topic_prefix=context.topic_prefix, kafka=context.kafka,
        kafka_bootstrap_servers=context.kafka_bootstrap_servers,
        timeout_ms=None if policies.timeout is None else _ms(policies.timeout), grace_ms=_ms(grace),
        delivery=policies.delivery,
        fenced=policies.delivery == "at_least_once" or (daemon and context.exclusive_daemon),
        rerun=run.rerun, args=run.args, slot=run.slot, group=context.group if daemon else None,
        run_token=assertions.issue(claims, key=secret_key, audience=assertions.RUN, ttl_s=_TOKEN_DAYS * 86400),
        attempt_next=run.attempt + 1,
    )  # fmt: skip


def _ms(span: timedelta) -> float:
    return span.total_seconds() * 1000
