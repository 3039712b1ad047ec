"""What Kafka says of daemons and topics: how far groups have read, and whether topics are fresh.

Kafka is asked outside of any transaction. While it can't be asked, nothing is concluded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from kirby_common.durations import format_duration
from kirby_common.ledger import daemons
from kirby_common.ledger.alerts import AlertKind, Condition, settle
from kirby_common.ledger.daemons import DaemonRow
from kirby_common.ledger.health import SlotState
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.tables import DaemonProgress
from kirby_common.ports import BusUnavailable, GroupPosition, Offsets
from sqlalchemy import Row, Table, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from kirby_scheduler.term import Term

log = structlog.get_logger()
OffsetsOf = Callable[[str | None], Offsets]
"""The cluster with these bootstrap servers; None is the suite's own."""

_progress: Table = DaemonProgress.__table__  # type: ignore[assignment]
_WATCHED_TOPICS = text(
    "SELECT t.name, t.fresh_within_ms, t.created_at, e.name AS env, e.topic_prefix, e.kafka_bootstrap_servers"
    " FROM topics t CROSS JOIN environments e WHERE t.fresh_within_ms IS NOT NULL AND NOT e.paused ORDER BY 1, 4"
)


@dataclass(frozen=True)
class WatchedTopic:
    """A topic in an environment; `newest` is when its newest message was written."""

    name: str
    env: str
    within: timedelta
    known_since: datetime
    newest: datetime | None

    def stale(self, now: datetime) -> Condition | None:
        """The condition, if no message has come for too long."""
        last = self.newest or self.known_since
        if now - last <= self.within:
            return None
        since = "none has come yet" if self.newest is None else f"the newest is of {last:%Y-%m-%d %H:%M:%S} UTC"
        reason = f"no message within {format_duration(self.within)}: {since}"
        return Condition(AlertKind.TOPIC_STALE, self.subject, reason, since=last + self.within, env=self.env)

    @property
    def subject(self) -> str:
        return f"topic/{self.name}@{self.env}"


async def sample(term: Term, offsets_of: OffsetsOf) -> int:
    """One look at all daemons with a group and all topics with a limit; returns how many messages it made."""
    await _sample_daemons(term, offsets_of)
    return await _sample_topics(term, offsets_of)


def moved_at(before: Row[Any] | None, position: GroupPosition, now: datetime) -> datetime:
    """When an offset last moved or nothing waited, after what was sampled before."""
    if before is None or before.offsets != position.offsets or position.lag <= 0:
        return now
    at: datetime = before.moved_at
    return at


async def _sample_daemons(term: Term, offsets_of: OffsetsOf) -> None:
    async with term.engine.connect() as tx:
        found = [d for d in await daemons.load(tx) if d.kafka != "none" and d.facts.off is None]
    up = [d for d in found if any(s.state is SlotState.UP for s in d.facts.slots)]
    positions: list[tuple[DaemonRow, GroupPosition]] = []
    for daemon in up:
        try:
            position = await offsets_of(daemon.kafka_bootstrap_servers).group(daemon.group_name)
        except BusUnavailable as error:
            log.warning("progress.waiting", job=daemon.job, env=daemon.env, reason=str(error))
            continue
        if position is not None:
            positions.append((daemon, position))
    if positions:
        async with term.transaction() as tx:
            await _write(tx, positions)


async def _write(tx: AsyncConnection, positions: Sequence[tuple[DaemonRow, GroupPosition]]) -> None:
    now = await database_now(tx)
    ids = [daemon.context_id for daemon, _ in positions]
    kept: dict[UUID, Row[Any]] = {
        r.context_id: r for r in await tx.execute(select(_progress).where(_progress.c.context_id.in_(ids)))
    }
    for daemon, position in positions:
        values = {
            "group_name": daemon.group_name, "offsets": dict(position.offsets), "lag": position.lag,
            "moved_at": moved_at(kept.get(daemon.context_id), position, now), "sampled_at": now,
        }  # fmt: skip
        fresh = insert(_progress).values(context_id=daemon.context_id, **values)
        await tx.execute(fresh.on_conflict_do_update(index_elements=["context_id"], set_=values))


async def _sample_topics(term: Term, offsets_of: OffsetsOf) -> int:
    async with term.engine.connect() as tx:
        rows = (await tx.execute(_WATCHED_TOPICS)).all()
    found: list[WatchedTopic] = []
    unknown: set[str] = set()
    for row in rows:
        name = row.topic_prefix + row.name
        watched = WatchedTopic(row.name, row.env, timedelta(milliseconds=row.fresh_within_ms), row.created_at, None)
        try:
            newest = await offsets_of(row.kafka_bootstrap_servers).newest([name])
        except BusUnavailable as error:
            log.warning("freshness.waiting", topic=name, reason=str(error))
            unknown.add(watched.subject)
            continue
        if name in newest:
            found.append(replace(watched, newest=newest[name]))
    async with term.transaction() as tx:
        now = await database_now(tx)
        seen = [condition for topic in found if (condition := topic.stale(now)) is not None]
        kinds = [AlertKind.TOPIC_STALE]
        return await settle(tx, seen, kinds=kinds, now=now, source="kirby/scheduler", unknown=unknown)
