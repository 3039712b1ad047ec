"""Lineage as the recorder has projected it from `.kirby.lineage`, and what others have told of theirs."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from kirby_common.ledger.tables.base import Base, json_column


class LineageProcess(Base):
    """A process that read one topic ("": none), as it has announced itself. Its id is in the headers of messages."""

    __tablename__ = "lineage_processes"
    process: Mapped[bytes] = mapped_column(primary_key=True)
    reads: Mapped[str]
    job: Mapped[str]
    env: Mapped[str]
    package: Mapped[str]
    version: Mapped[str]
    run_id: Mapped[str]
    attempt: Mapped[int] = mapped_column(Integer)
    slot: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    program: Mapped[str]
    rerun: Mapped[bool]
    at: Mapped[datetime]
    __table_args__ = (Index("ix_lineage_processes_reads", "reads", "at"),)


class LineageSpan(Base):
    """Messages of an input partition that a process has handled, and one thing that it touched for them.

    `reads` is the input's topic, null while its process is not known. -1 as partition: not made from one message.
    """

    __tablename__ = "lineage_spans"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    process: Mapped[bytes]
    reads: Mapped[str | None]
    direction: Mapped[str]
    kind: Mapped[str]
    name: Mapped[str]
    partition: Mapped[int] = mapped_column(Integer)
    from_offset: Mapped[int]
    to_offset: Mapped[int]
    count: Mapped[int]
    since_ms: Mapped[int]
    until_ms: Mapped[int]
    __table_args__ = (
        Index("ix_lineage_spans_input", "reads", "partition", "to_offset"),
        Index("ix_lineage_spans_process", "process", "until_ms"),
        Index("ix_lineage_spans_until_ms", "until_ms"),
    )


class LineageJoin(Base):
    """Messages that met in a trace: a batch, a window, a join."""

    __tablename__ = "lineage_joins"
    trace: Mapped[bytes] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    from_offset: Mapped[int] = mapped_column(primary_key=True)
    to_offset: Mapped[int]
    process: Mapped[bytes]
    at_ms: Mapped[int]
    __table_args__ = (Index("ix_lineage_joins_input", "topic", "partition", "to_offset"),)


class LineageEdge(Base):
    """What a job's version reads ("in") and writes ("out"). `told_by` is "" for Kirby itself."""

    __tablename__ = "lineage_edges"
    env: Mapped[str] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    direction: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    told_by: Mapped[str] = mapped_column(primary_key=True, server_default=text("''"))
    count: Mapped[int] = mapped_column(server_default=text("0"))
    facts: Mapped[dict[str, Any]] = json_column()
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
