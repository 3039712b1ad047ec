"""What is watched: alerts for what should be and is not, and how far daemons have read."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from kirby_common.ledger.tables.base import Base, created, json_column, new_id


class Alert(Base):
    """A missed mark from when it began until it is over. Told once when it has lasted, and once when it is over.

    `rev` is 0 until it is told, 1 then, and 2 once it is told as over.
    """

    __tablename__ = "alerts"
    id: Mapped[UUID] = new_id()
    kind: Mapped[str]
    subject: Mapped[str]
    reason: Mapped[str]
    env: Mapped[str | None]
    job: Mapped[str | None]
    context_id: Mapped[UUID | None]
    run_id: Mapped[UUID | None]
    detail: Mapped[dict[str, Any]] = json_column()
    rev: Mapped[int] = mapped_column(server_default=text("0"))
    opened_at: Mapped[datetime] = created()
    told_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    __table_args__ = (
        Index("uq_alerts_open", "kind", "subject", unique=True, postgresql_where=text("closed_at IS NULL")),
        Index("ix_alerts_list", "opened_at", "id"),
    )


class DaemonProgress(Base):
    """How far the consumer group of a daemon has read, when it was last looked at."""

    __tablename__ = "daemon_progress"
    context_id: Mapped[UUID] = mapped_column(ForeignKey("contexts.id", ondelete="CASCADE"), primary_key=True)
    group_name: Mapped[str]
    offsets: Mapped[dict[str, Any]] = json_column()
    lag: Mapped[int]
    moved_at: Mapped[datetime]
    sampled_at: Mapped[datetime]
