"""What runs: leadership, workers, runs and their attempts, daemons, the outbox, and where logs lie."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from kirby_common.ledger.tables.base import Base, created, json_column, new_id


class Worker(Base):
    __tablename__ = "workers"
    name: Mapped[str] = mapped_column(primary_key=True)
    incarnation: Mapped[UUID]
    boot_id: Mapped[str]
    home_id: Mapped[UUID]
    host: Mapped[str]
    pool: Mapped[str]
    labels: Mapped[dict[str, Any]] = json_column()
    places: Mapped[int]
    version: Mapped[str]
    platform: Mapped[str]
    python: Mapped[str]
    beat: Mapped[int] = mapped_column(server_default=text("0"))
    last_beat_at: Mapped[datetime] = created()
    max_beat_gap_ms: Mapped[float] = mapped_column(server_default=text("0"))
    since: Mapped[datetime] = created()
    draining: Mapped[bool] = mapped_column(server_default=text("false"))
    gone: Mapped[bool] = mapped_column(server_default=text("false"))
    usage: Mapped[dict[str, Any]] = json_column()


class Leader(Base):
    __tablename__ = "leader"
    one: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    epoch: Mapped[int] = mapped_column(server_default=text("0"))
    holder: Mapped[UUID | None]
    name: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    since: Mapped[datetime | None]
    __table_args__ = (CheckConstraint("one", name="one"),)


class RulesGate(Base):
    __tablename__ = "rules_gate"
    one: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    rev: Mapped[int] = mapped_column(server_default=text("0"))
    __table_args__ = (CheckConstraint("one", name="one"),)


class RunKey(Base):
    """*The* unique row of a launch."""

    __tablename__ = "run_keys"
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = created()


class Run(Base):
    """One logical occurrence of a job, over all its attempts. Partitioned by month of `created_at`.

    `held`: its backfill has not let it go yet.
    """

    __tablename__ = "runs"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(primary_key=True, server_default=func.clock_timestamp())
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    status: Mapped[str]
    kind: Mapped[str]
    key: Mapped[str]
    context_id: Mapped[UUID]
    job_id: Mapped[UUID]
    environment_id: Mapped[UUID]
    job: Mapped[str]
    env: Mapped[str]
    namespace: Mapped[str]
    labels: Mapped[dict[str, Any]] = json_column()
    pool: Mapped[str] = mapped_column(server_default=text("'default'"))
    priority: Mapped[int] = mapped_column(server_default=text("0"))
    script_id: Mapped[UUID | None]
    lock_id: Mapped[UUID | None]
    package_name: Mapped[str]
    package_version: Mapped[str]
    entry: Mapped[str | None]
    args: Mapped[list[Any]] = json_column("[]")
    variables: Mapped[dict[str, Any]] = json_column()
    policies: Mapped[dict[str, Any]] = json_column()
    due_at: Mapped[datetime | None]
    fire_at: Mapped[datetime]
    startable_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    waits_for: Mapped[str | None]
    let_go_at: Mapped[datetime | None]
    range_to: Mapped[datetime | None]
    range_count: Mapped[int | None]
    rerun: Mapped[bool] = mapped_column(server_default=text("false"))
    backfill_id: Mapped[UUID | None]
    held: Mapped[bool] = mapped_column(server_default=text("false"))
    grant: Mapped[int] = mapped_column("grant_no", server_default=text("0"))
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    failed_preparations: Mapped[int] = mapped_column(server_default=text("0"))
    worker: Mapped[str | None]
    incarnation: Mapped[UUID | None]
    claim_id: Mapped[UUID | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    exit_code: Mapped[int | None] = mapped_column(Integer)
    signal: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str | None]
    requested_by: Mapped[str | None]
    parent_run_id: Mapped[UUID | None]
    occasion: Mapped[str | None]
    kill_why: Mapped[str | None]
    kill_by: Mapped[str | None]
    slot: Mapped[int | None] = mapped_column(Integer)
    generation: Mapped[int | None]
    missed_told: Mapped[bool] = mapped_column(server_default=text("false"))
    unfenced: Mapped[bool] = mapped_column(server_default=text("false"))
    log: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    __table_args__ = (
        CheckConstraint(
            "status IN ('PENDING','CLAIMED','LAUNCHING','RUNNING','RETRYING','SUCCEEDED','FAILED','KILLED',"
            "'LOST','MISSED','SKIPPED','CANCELLED')",
            name="status",
        ),
        Index("ix_runs_claimable", "fire_at", postgresql_where=text("status = 'PENDING'")),
        Index(
            "ix_runs_live",
            "context_id",
            "status",
            postgresql_where=text("status IN ('PENDING','CLAIMED','LAUNCHING','RUNNING','RETRYING','LOST')"),
        ),
        Index("ix_runs_list", "created_at", "id"),
        Index("ix_runs_started", "status", postgresql_where=text("status IN ('LAUNCHING','RUNNING')")),
        Index("ix_runs_unfenced", "ended_at", postgresql_where=text("status = 'LOST' AND unfenced")),
        Index(
            "ix_runs_waiting",
            "waits_for",
            "fire_at",
            postgresql_where=text("status = 'PENDING' AND waits_for IS NOT NULL"),
        ),
        Index(
            "ix_runs_let_go",
            "let_go_at",
            postgresql_where=text("status IN ('PENDING','CLAIMED') AND let_go_at IS NOT NULL"),
        ),
        Index("ix_runs_job", "job", "env", "created_at"),
        Index(
            "ix_runs_daemons",
            "id",
            postgresql_where=text("kind = 'daemon' AND status IN ('PENDING','CLAIMED','LAUNCHING','RUNNING')"),
        ),
        Index("ix_runs_id", "id"),
        Index("ix_runs_due", "context_id", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_runs_backfill", "backfill_id", postgresql_where=text("backfill_id IS NOT NULL")),
        Index("ix_runs_context", "context_id", "fire_at"),
        Index("ix_runs_ranges", "context_id", "range_to", postgresql_where=text("kind = 'range'")),
        Index("ix_runs_untold", "context_id", postgresql_where=text("status = 'MISSED' AND NOT missed_told")),
        Index("ix_runs_occasion", "context_id", "occasion", postgresql_where=text("occasion IS NOT NULL")),
        Index("ix_runs_parent", "parent_run_id", postgresql_where=text("parent_run_id IS NOT NULL")),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )


class Backfill(Base):
    """Runs for the past due times of a context in [range_from, range_to), made as its concurrency lets them start.

    `position` is the due time that was seen to last, in the backfill's order; `schedules` are the context's as they
    were when it was asked for. It outlives its context.
    """

    __tablename__ = "backfills"
    id: Mapped[UUID] = new_id()
    context_id: Mapped[UUID]
    job: Mapped[str]
    env: Mapped[str]
    namespace: Mapped[str]
    schedules: Mapped[list[Any]] = mapped_column(JSONB)
    range_from: Mapped[datetime]
    range_to: Mapped[datetime]
    newest_first: Mapped[bool] = mapped_column(server_default=text("false"))
    existing: Mapped[str] = mapped_column(server_default=text("'leave'"))
    rerun: Mapped[bool] = mapped_column(server_default=text("false"))
    concurrency: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    state: Mapped[str] = mapped_column(server_default=text("'running'"))
    reason: Mapped[str | None]
    total: Mapped[int]
    made: Mapped[int] = mapped_column(server_default=text("0"))
    left_alone: Mapped[int] = mapped_column(server_default=text("0"))
    position: Mapped[datetime | None]
    exhausted: Mapped[bool] = mapped_column(server_default=text("false"))
    requested_by: Mapped[str]
    changed_by: Mapped[str | None]
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = created()
    ended_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("state IN ('running', 'paused', 'cancelled', 'done')", name="state"),
        CheckConstraint("existing IN ('leave', 'failed', 'anew')", name="existing"),
        CheckConstraint("range_from < range_to", name="range"),
        CheckConstraint("concurrency > 0", name="concurrency"),
        Index("ix_backfills_open", "created_at", postgresql_where=text("state = 'running'")),
    )


class Attempt(Base):
    """One grant of a run to a worker. `attempt` is null until LAUNCHING was written."""

    __tablename__ = "attempts"
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    grant: Mapped[int] = mapped_column("grant_no", primary_key=True)
    attempt: Mapped[int | None]
    status: Mapped[str]
    worker: Mapped[str]
    incarnation: Mapped[UUID]
    host: Mapped[str]
    boot_id: Mapped[str]
    claim_id: Mapped[UUID]
    beat: Mapped[int] = mapped_column(server_default=text("0"))
    claimed_at: Mapped[datetime] = created()
    launching_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    exit_code: Mapped[int | None] = mapped_column(Integer)
    signal: Mapped[int | None] = mapped_column(Integer)
    reason: Mapped[str | None]
    pid: Mapped[int | None]
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    log: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    open: Mapped[bool] = mapped_column(server_default=text("true"))
    __table_args__ = (
        Index("ix_attempts_open", "incarnation", postgresql_where=text("open")),
        Index("ix_attempts_claim", "claim_id"),
    )


class DaemonSlot(Base):
    """One replica of a daemon context, over its generations.

    `crashes` are quick exits in a row, `restarts` all generations that followed an end. `old_run_id` is the generation
    before while it and its successor are both there; `settings` a digest of what this one was started with.
    """

    __tablename__ = "daemon_slots"
    context_id: Mapped[UUID] = mapped_column(ForeignKey("contexts.id", ondelete="CASCADE"), primary_key=True)
    slot: Mapped[int] = mapped_column(Integer, primary_key=True)
    generation: Mapped[int] = mapped_column(server_default=text("0"))
    state: Mapped[str] = mapped_column(server_default=text("'WANTED'"))
    wanted: Mapped[bool] = mapped_column(server_default=text("true"))
    run_id: Mapped[UUID | None]
    script_id: Mapped[UUID | None]
    worker: Mapped[str | None]
    settings: Mapped[str | None]
    old_run_id: Mapped[UUID | None]
    crashes: Mapped[int] = mapped_column(server_default=text("0"))
    restarts: Mapped[int] = mapped_column(server_default=text("0"))
    not_before: Mapped[datetime | None]
    up_since: Mapped[datetime | None]
    renew: Mapped[bool] = mapped_column(server_default=text("false"))
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    __table_args__ = (
        CheckConstraint(
            "state IN ('WANTED','STARTING','UP','BACKOFF','CRASH_LOOPING','DRAINING','FINISHED','DOWN')", name="state"
        ),
    )


class Outbox(Base):
    """What must be told on Kafka, written in the same transaction as what it tells of."""

    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    topic: Mapped[str]
    key: Mapped[str]
    value: Mapped[bytes | None]
    created_at: Mapped[datetime] = created()


class LogPointer(Base):
    """Where an attempt's log lies: one row per attempt and partition per 1,000 lines or 60 s."""

    __tablename__ = "log_pointers"
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    grant: Mapped[int] = mapped_column("grant_no", primary_key=True)
    first_seq: Mapped[int] = mapped_column(primary_key=True)
    last_seq: Mapped[int]
    topic: Mapped[str]
    partition: Mapped[int] = mapped_column(Integer)
    first_offset: Mapped[int]
    last_offset: Mapped[int]
    first_line: Mapped[int]
    lines: Mapped[int]
    bytes: Mapped[int]
    digest: Mapped[str]
    complete: Mapped[bool] = mapped_column(server_default=text("false"))
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    __table_args__ = (Index("ix_log_pointers_offset", "partition", "last_offset"),)


class RecorderOffset(Base):
    __tablename__ = "recorder_offsets"
    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    next_offset: Mapped[int]
    holder: Mapped[UUID | None]
