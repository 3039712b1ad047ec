"""What users configure, and who changed it when: written by the api."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from kirby_common.ledger.tables.base import Base, created, json_column, new_id


class Environment(Base):
    __tablename__ = "environments"
    id: Mapped[UUID] = new_id()
    name: Mapped[str] = mapped_column(unique=True)
    topic_prefix: Mapped[str]
    kafka_bootstrap_servers: Mapped[str | None]
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    pause_reason: Mapped[str | None]
    paused_by: Mapped[str | None]
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = created()


class Job(Base):
    __tablename__ = "jobs"
    id: Mapped[UUID] = new_id()
    name: Mapped[str] = mapped_column(unique=True)
    type: Mapped[str]
    namespace: Mapped[str] = mapped_column(server_default=text("'default'"))
    description: Mapped[str] = mapped_column(server_default=text("''"))
    labels: Mapped[dict[str, Any]] = json_column()
    group: Mapped[str | None]
    exclusive: Mapped[bool | None]
    kafka: Mapped[str] = mapped_column(server_default=text("'default'"))
    policies: Mapped[dict[str, Any]] = json_column()
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    pause_reason: Mapped[str | None]
    paused_by: Mapped[str | None]
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = created()
    __table_args__ = (CheckConstraint("type IN ('scheduled', 'daemon')", name="type"),)


class JobPredecessor(Base):
    """A job that another comes after: in the same environment, when it has ended as `on` says."""

    __tablename__ = "job_predecessors"
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    predecessor_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    on: Mapped[str]
    __table_args__ = (
        CheckConstraint("\"on\" IN ('success', 'failure', 'done')", name="on"),
        Index("ix_job_predecessors_predecessor", "predecessor_id"),
    )


class Script(Base):
    __tablename__ = "scripts"
    id: Mapped[UUID] = new_id()
    package_name: Mapped[str]
    package_version: Mapped[str]
    entry: Mapped[str | None]
    first_seen: Mapped[datetime] = created()
    last_seen: Mapped[datetime] = created()
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    __table_args__ = (UniqueConstraint("package_name", "package_version", "entry", postgresql_nulls_not_distinct=True),)


class Lock(Base):
    """One resolution of one version: a work item until a worker has answered it."""

    __tablename__ = "locks"
    id: Mapped[UUID] = new_id()
    package_name: Mapped[str]
    package_version: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'wanted'"))
    lock_text: Mapped[str | None]
    requires_python: Mapped[str | None]
    error: Mapped[str | None]
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    claimed_by: Mapped[str | None]
    not_before: Mapped[datetime] = created()
    claimed_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = created()
    resolved_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("package_name", "package_version"),
        CheckConstraint("status IN ('wanted', 'claimed', 'ready', 'failed')", name="status"),
    )


class Context(Base):
    """A job in an environment: which script it runs there, and up to when its due times are judged.

    All due times up to `horizon` have their rows, and none lies between `horizon` and `next_due_at`.
    `held`: that one lies in a pause and gets its row when it has passed.
    """

    __tablename__ = "contexts"
    id: Mapped[UUID] = new_id()
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"))
    environment_id: Mapped[UUID] = mapped_column(ForeignKey("environments.id"))
    script_id: Mapped[UUID | None] = mapped_column(ForeignKey("scripts.id"))
    state: Mapped[str] = mapped_column(server_default=text("'disabled'"))
    state_reason: Mapped[str | None]
    paused: Mapped[bool] = mapped_column(server_default=text("false"))
    pause_reason: Mapped[str | None]
    paused_by: Mapped[str | None]
    replicas: Mapped[int] = mapped_column(server_default=text("1"))
    per_worker: Mapped[bool] = mapped_column(server_default=text("false"))
    pool: Mapped[str] = mapped_column(server_default=text("'default'"))
    args: Mapped[list[Any]] = json_column("[]")
    policies: Mapped[dict[str, Any]] = json_column()
    horizon: Mapped[datetime | None]
    next_due_at: Mapped[datetime | None]
    held: Mapped[bool] = mapped_column(server_default=text("false"))
    set_aside: Mapped[str | None]
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = created()
    __table_args__ = (
        UniqueConstraint("job_id", "environment_id"),
        CheckConstraint("state IN ('enabled', 'enabling', 'disabled')", name="state"),
        Index("ix_contexts_due", "next_due_at", postgresql_where=text("state = 'enabled'")),
    )


class Schedule(Base):
    __tablename__ = "schedules"
    id: Mapped[UUID] = new_id()
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    expr: Mapped[str | None]
    tz: Mapped[str] = mapped_column(server_default=text("'UTC'"))
    dst: Mapped[str] = mapped_column(server_default=text("'debian'"))
    every_ms: Mapped[int | None]
    anchor: Mapped[datetime | None]
    at: Mapped[datetime | None]
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = created()
    __table_args__ = (
        CheckConstraint("kind IN ('cron', 'every', 'at')", name="kind"),
        CheckConstraint(
            "(kind = 'cron') = (expr IS NOT NULL) AND (kind = 'every') = (every_ms IS NOT NULL)"
            " AND (kind = 'at') = (at IS NOT NULL)",
            name="shape",
        ),
    )


class ContextSchedule(Base):
    __tablename__ = "context_schedules"
    context_id: Mapped[UUID] = mapped_column(ForeignKey("contexts.id", ondelete="CASCADE"), primary_key=True)
    schedule_id: Mapped[UUID] = mapped_column(ForeignKey("schedules.id"), primary_key=True)


class ScheduleException(Base):
    __tablename__ = "schedule_exceptions"
    id: Mapped[UUID] = new_id()
    scope: Mapped[str]
    scope_ref: Mapped[str]
    effect: Mapped[str] = mapped_column(server_default=text("'pause'"))
    every_nth: Mapped[int | None]
    cron: Mapped[str | None]
    start: Mapped[datetime]
    end: Mapped[datetime | None]
    recurrence: Mapped[str | None]
    lasts_ms: Mapped[int | None]
    tz: Mapped[str] = mapped_column(server_default=text("'UTC'"))
    reason: Mapped[str]
    author: Mapped[str]
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = created()
    __table_args__ = (
        CheckConstraint("scope IN ('job', 'context', 'label', 'schedule', 'environment')", name="scope"),
        CheckConstraint("effect IN ('pause', 'slow')", name="effect"),
        CheckConstraint('"end" IS NULL OR "end" > start', name="window"),
        CheckConstraint("(recurrence IS NULL) = (lasts_ms IS NULL)", name="recurrence"),
        CheckConstraint("(effect = 'slow') = (num_nonnulls(every_nth, cron) = 1)", name="slow"),
        Index("ix_schedule_exceptions_on", "scope", "scope_ref"),
    )


class Limit(Base):
    """At most `places` runs at once among all that name it; with a `key`, among those that agree in it."""

    __tablename__ = "limits"
    id: Mapped[UUID] = new_id()
    name: Mapped[str] = mapped_column(unique=True)
    places: Mapped[int]
    key: Mapped[str | None]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = created()
    __table_args__ = (CheckConstraint("places >= 0", name="places"),)


class ConfigKey(Base):
    """A variable of a script's environment: global < job < context. `secret://path#field` is a reference."""

    __tablename__ = "config_keys"
    id: Mapped[UUID] = new_id()
    scope: Mapped[str]
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    context_id: Mapped[UUID | None] = mapped_column(ForeignKey("contexts.id", ondelete="CASCADE"))
    name: Mapped[str]
    value: Mapped[str]
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = created()
    __table_args__ = (
        UniqueConstraint("name", "job_id", "context_id", postgresql_nulls_not_distinct=True),
        CheckConstraint(
            "(scope = 'global' AND job_id IS NULL AND context_id IS NULL)"
            " OR (scope = 'job' AND job_id IS NOT NULL AND context_id IS NULL)"
            " OR (scope = 'context' AND job_id IS NULL AND context_id IS NOT NULL)",
            name="scope",
        ),
    )


class Topic(Base):
    __tablename__ = "topics"
    id: Mapped[UUID] = new_id()
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(server_default=text("''"))
    fresh_within_ms: Mapped[int | None]
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = created()


class ScriptTopic(Base):
    __tablename__ = "script_topics"
    script_id: Mapped[UUID] = mapped_column(ForeignKey("scripts.id", ondelete="CASCADE"), primary_key=True)
    topic_id: Mapped[UUID] = mapped_column(ForeignKey("topics.id", ondelete="CASCADE"), primary_key=True)
    direction: Mapped[str] = mapped_column(primary_key=True)
    last_seen: Mapped[datetime] = created()
    __table_args__ = (CheckConstraint("direction IN ('source', 'destination')", name="direction"),)


class NotificationGroup(Base):
    __tablename__ = "notification_groups"
    id: Mapped[UUID] = new_id()
    name: Mapped[str] = mapped_column(unique=True)
    emails: Mapped[list[Any]] = json_column("[]")
    webhooks: Mapped[list[Any]] = json_column("[]")
    suite_alerts: Mapped[bool] = mapped_column(server_default=text("false"))
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = created()


class Notification(Base):
    __tablename__ = "notifications"
    id: Mapped[UUID] = new_id()
    context_id: Mapped[UUID] = mapped_column(ForeignKey("contexts.id", ondelete="CASCADE"))
    group_id: Mapped[UUID] = mapped_column(ForeignKey("notification_groups.id", ondelete="CASCADE"))
    on_failure: Mapped[bool] = mapped_column(server_default=text("true"))
    on_retry: Mapped[bool] = mapped_column(server_default=text("false"))
    rev: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = created()
    __table_args__ = (UniqueConstraint("context_id", "group_id"),)


class Revision(Base):
    """Who changed what, when: the value after each change of a configured thing."""

    __tablename__ = "revisions"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    kind: Mapped[str]
    entity_id: Mapped[str]
    rev: Mapped[int]
    action: Mapped[str]
    value: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    author: Mapped[str]
    at: Mapped[datetime] = created()
    __table_args__ = (Index("ix_revisions_entity", "kind", "entity_id", "id"),)


class Setting(Base):
    """Small facts of the installation, such as the cluster id and the home's version."""

    __tablename__ = "settings"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]] = mapped_column(JSONB)
