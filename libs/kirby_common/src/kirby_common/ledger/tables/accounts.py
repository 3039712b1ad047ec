"""Who may ask for what: users, sessions, tokens, and the answers that repeats get."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Integer,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from kirby_common.ledger.tables.base import Base, created, new_id


class User(Base):
    __tablename__ = "users"
    id: Mapped[UUID] = new_id()
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str | None]
    role: Mapped[str] = mapped_column(server_default=text("'viewer'"))
    disabled: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = created()


class RoleBinding(Base):
    """A role that a user has besides their own, where the patterns match; `sales.*` is all below `sales`."""

    __tablename__ = "role_bindings"
    id: Mapped[UUID] = new_id()
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    role: Mapped[str]
    env: Mapped[str] = mapped_column(server_default=text("'*'"))
    namespace: Mapped[str] = mapped_column(server_default=text("'*'"))
    created_at: Mapped[datetime] = created()
    created_by: Mapped[str]
    __table_args__ = (UniqueConstraint("user_id", "role", "env", "namespace"),)


class Session(Base):
    """A browser's session; the id is stored hashed."""

    __tablename__ = "sessions"
    id_hash: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = created()
    expires_at: Mapped[datetime]


class ApiToken(Base):
    __tablename__ = "api_tokens"
    id: Mapped[UUID] = new_id()
    token_hash: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    label: Mapped[str] = mapped_column(server_default=text("''"))
    kind: Mapped[str] = mapped_column(server_default=text("'api'"))
    created_at: Mapped[datetime] = created()
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    __table_args__ = (CheckConstraint("kind IN ('api', 'login_link')", name="kind"),)


class IdempotencyKey(Base):
    """The first answer to a request with an Idempotency-Key, given again to a repeat."""

    __tablename__ = "idempotency_keys"
    principal: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[str]
    status: Mapped[int | None] = mapped_column(Integer)
    body: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime] = created()


class WorkerToken(Base):
    __tablename__ = "worker_tokens"
    token_hash: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = created()
    created_by: Mapped[str]
