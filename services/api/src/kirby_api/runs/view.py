"""The REST form of a run."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from kirby_common.ledger.tables import Attempt, Run
from pydantic import BaseModel, ConfigDict, Field


class LogFacts(BaseModel):
    """Counted by the shim at the end of an attempt; null until then."""

    lines: int
    bytes: int
    complete: bool


class AttemptView(BaseModel):
    attempt: int | None = Field(description="from 1; null when the grant never came to a launch")
    grant: int
    status: str
    worker: str
    host: str
    claimed_at: datetime
    launching_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    signal: int | None
    reason: str | None
    log: LogFacts | None


class RunView(BaseModel):
    """One logical occurrence of a job, over all its attempts."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "run_id": "5b6c3a8e-4a7f-5d0e-9c59-2d3f5a1f9c11", "job": "weather", "env": "prod",
                    "namespace": "demo", "labels": {}, "status": "SUCCEEDED", "kind": "schedule",
                    "due_at": "2026-11-21T10:00:00Z", "fire_at": "2026-11-21T10:00:00Z",
                    "created_at": "2026-11-21T09:59:30Z", "started_at": "2026-11-21T10:00:00.004Z",
                    "ended_at": "2026-11-21T10:00:02.100Z", "duration_s": 2.096, "exit_code": 0, "signal": None,
                    "reason": None, "package_name": "weather-sensor", "package_version": "1.0.0", "entry": None,
                    "worker": "server-1", "attempt": 1, "rerun": False, "parent_run_id": None,
                    "requested_by": None, "slot": None, "generation": None,
                    "log": {"lines": 12, "bytes": 600, "complete": True}, "rev": 5, "attempts": [],
                }
            ]
        }
    )  # fmt: skip

    run_id: UUID
    job: str
    env: str
    namespace: str
    labels: dict[str, str]
    status: str
    kind: str
    due_at: datetime | None
    fire_at: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration_s: float | None
    exit_code: int | None
    signal: int | None
    reason: str | None
    package_name: str
    package_version: str
    entry: str | None
    worker: str | None
    attempt: int
    rerun: bool
    parent_run_id: UUID | None
    backfill_id: UUID | None = None
    requested_by: str | None
    slot: int | None
    generation: int | None
    range_to: datetime | None = Field(default=None, description="the last due time, when the row stands for many")
    range_count: int | None = None
    log: LogFacts | None
    rev: int
    attempts: list[AttemptView] = []


def facts(log: dict[str, Any] | None) -> LogFacts | None:
    if not log:
        return None
    return LogFacts(lines=log.get("lines", 0), bytes=log.get("bytes", 0), complete=bool(log.get("complete", True)))


def attempt_view(row: Attempt) -> AttemptView:
    return AttemptView(
        attempt=row.attempt, grant=row.grant, status=row.status, worker=row.worker, host=row.host,
        claimed_at=row.claimed_at, launching_at=row.launching_at, started_at=row.started_at, ended_at=row.ended_at,
        exit_code=row.exit_code, signal=row.signal, reason=row.reason, log=facts(row.log),
    )  # fmt: skip


def run_view(row: Run, attempts: Sequence[Attempt] = ()) -> RunView:
    """The run; `attempts` in the order of their grants."""
    took = None if row.started_at is None or row.ended_at is None else (row.ended_at - row.started_at).total_seconds()
    return RunView(
        run_id=row.id, job=row.job, env=row.env, namespace=row.namespace, labels=row.labels, status=row.status,
        kind=row.kind, due_at=row.due_at, fire_at=row.fire_at, created_at=row.created_at, started_at=row.started_at,
        ended_at=row.ended_at, duration_s=took, exit_code=row.exit_code, signal=row.signal, reason=row.reason,
        package_name=row.package_name, package_version=row.package_version, entry=row.entry, worker=row.worker,
        attempt=row.attempt, rerun=row.rerun, parent_run_id=row.parent_run_id, backfill_id=row.backfill_id,
        requested_by=row.requested_by,
        slot=row.slot, generation=row.generation, range_to=row.range_to, range_count=row.range_count,
        log=facts(row.log), rev=row.rev, attempts=[attempt_view(a) for a in attempts],
    )  # fmt: skip
