"""States as the recorder has folded them from their logs. All of it can be dropped and is made again from there."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from kirby_common.ledger.tables.base import Base, json_column

_BYTEWISE = Text(collation="C")
"""Keys are ordered and looked up by their bytes, so that a prefix is one stretch of the index."""


class StateLog(Base):
    """A State's log, as it was found. `problem` says why it is not read any further.

    `owned`: one processor group writes it; what others want is for its topic of commands.
    """

    __tablename__ = "state_logs"
    topic: Mapped[str] = mapped_column(primary_key=True)
    prefix: Mapped[str]
    name: Mapped[str]
    partitions: Mapped[int] = mapped_column(Integer)
    owned: Mapped[bool] = mapped_column(server_default=text("false"))
    problem: Mapped[str | None]


class StateOffset(Base):
    """How far a log is folded into the tables, and how far they are told in the State's `.latest` topic."""

    __tablename__ = "state_offsets"
    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    next_offset: Mapped[int] = mapped_column(server_default=text("0"))
    told_offset: Mapped[int] = mapped_column(server_default=text("0"))


class StateKey(Base):
    """What the rule remembers of a key; its value is that of its newest version."""

    __tablename__ = "state_keys"
    topic: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(_BYTEWISE, primary_key=True)
    partition: Mapped[int] = mapped_column(Integer)
    version: Mapped[int]
    last_offset: Mapped[int]
    value_offset: Mapped[int | None]
    recent: Mapped[list[Any]] = json_column("[]")
    __table_args__ = (Index("ix_state_keys_offset", "topic", "partition", "last_offset"),)


class StateVersion(Base):
    """One version of a key: its value (null for a deletion), who appended it, and when the broker took it."""

    __tablename__ = "state_versions"
    topic: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(_BYTEWISE, primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer)
    offset: Mapped[int]
    op: Mapped[str]
    restores: Mapped[int | None]
    value: Mapped[bytes | None]
    content_type: Mapped[str | None]
    stored: Mapped[bool] = mapped_column(server_default=text("false"))
    at: Mapped[datetime]
    by: Mapped[str]
    run: Mapped[str | None]
    grant: Mapped[int | None] = mapped_column("grant_no")
    rerun: Mapped[bool] = mapped_column(server_default=text("false"))
    inputs: Mapped[list[Any]] = json_column("[]")
