"""Rewinds: stored messages that a daemon processes again."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from kirby_common.ledger.tables.base import Base, created, json_column, new_id


class Rewind(Base):
    """A daemon's consumer group that is moved back in place, or another one that reads in its shadow.

    One at a time for a context; it outlives its context. `parts` are the stretches of its partitions, `positions` how
    far each is. DRAINING: its replicas (in shadow: its run) are being drained, and what follows is `wanted`. `placed`:
    the group was moved at least once.

    In shadow, `run_id` is the run that is under way or was last, the `runs`-th of it; `outputs` are topics that the job
    is known to write, with the environment's `prefix`.
    """

    __tablename__ = "rewinds"
    id: Mapped[UUID] = new_id()
    context_id: Mapped[UUID]
    job: Mapped[str]
    env: Mapped[str]
    namespace: Mapped[str]
    target: Mapped[str]
    group_name: Mapped[str]
    kafka_bootstrap_servers: Mapped[str | None]
    range_from: Mapped[datetime]
    range_to: Mapped[datetime | None]
    parts: Mapped[list[Any]] = json_column("[]")
    positions: Mapped[dict[str, Any]] = json_column()
    total: Mapped[int] = mapped_column(server_default=text("0"))
    done: Mapped[int] = mapped_column(server_default=text("0"))
    rate: Mapped[float | None]
    mode: Mapped[str] = mapped_column(server_default=text("'in-place'"))
    prefix: Mapped[str] = mapped_column(server_default=text("''"))
    outputs: Mapped[list[Any]] = json_column("[]")
    run_id: Mapped[UUID | None]
    runs: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    comparison: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    state: Mapped[str] = mapped_column(server_default=text("'draining'"))
    wanted: Mapped[str] = mapped_column(server_default=text("'run'"))
    placed: Mapped[bool] = mapped_column(server_default=text("false"))
    reason: Mapped[str | None]
    requested_by: Mapped[str]
    changed_by: Mapped[str | None]
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = created()
    drained_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint(
            "state IN ('draining', 'running', 'paused', 'comparing', 'ready', 'promoting', 'dropping', 'done',"
            " 'promoted', 'dropped', 'cancelled', 'failed')",
            name="state",
        ),
        CheckConstraint("mode IN ('in-place', 'shadow')", name="mode"),
        CheckConstraint("wanted IN ('run', 'pause', 'cancel')", name="wanted"),
        Index(
            "uq_rewinds_open",
            "context_id",
            unique=True,
            postgresql_where=text("state IN ('draining', 'running', 'paused')"),
        ),
        Index("ix_rewinds_list", "created_at", "id"),
    )
