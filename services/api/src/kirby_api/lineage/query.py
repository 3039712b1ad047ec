"""What the tables know of processes and of what they have touched."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kirby_common.ledger.tables import Job, LineageJoin, LineageProcess, LineageSpan
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller, Permission, Place
from kirby_api.access.visible import reads_all
from kirby_api.lineage.view import Maker
from kirby_api.messages.reading import env_of, environments

_processes: Table = LineageProcess.__table__  # type: ignore[assignment]
_spans: Table = LineageSpan.__table__  # type: ignore[assignment]
_joins: Table = LineageJoin.__table__  # type: ignore[assignment]
_MOST = 200
_AFTER_MS = 60_000


@dataclass(frozen=True)
class Sight:
    """What a caller may see: jobs by environment and namespace, topics by environment."""

    caller: Caller
    prefixes: Mapping[str, str]
    namespaces: Mapping[str, str]

    def job(self, env: str, job: str) -> bool:
        """Scripts outside of Kirby have no environment, and are nobody's. What is gone shows to who reads all."""
        namespace = self.namespaces.get(job)
        if env and namespace is None:
            return reads_all(self.caller)
        return not env or self.caller.may(Permission.READ, Place(env, namespace))

    def topic(self, name: str) -> bool:
        env = env_of(name, self.prefixes)
        return env is not None and self.caller.may(Permission.READ, Place(env))


async def sight(db: AsyncSession, caller: Caller) -> Sight:
    namespaces = {row.name: row.namespace for row in await db.execute(select(Job.name, Job.namespace))}
    return Sight(caller, await environments(db), namespaces)


async def processes(db: AsyncSession, ids: Collection[bytes]) -> dict[bytes, Any]:
    """The rows of those that have announced themselves."""
    if not ids:
        return {}
    rows = await db.execute(select(_processes).where(_processes.c.process.in_(ids)))
    return {row.process: row for row in rows}


def maker(process: bytes, row: Any, seen: Sight) -> dict[str, Any]:
    """The fields of a `Maker`."""
    if row is None:
        return Maker(process=process.hex(), known=False).model_dump()
    if not seen.job(row.env, row.job):
        return Maker(process=None, hidden=True).model_dump()
    name = row.job or row.program
    return Maker(
        process=process.hex(),
        by=f"{name}@{row.version}" if row.version else name,
        job=row.job or None,
        version=row.version or None,
        env=row.env or None,
        package=row.package or None,
        run_id=row.run_id or None,
        attempt=row.attempt or None,
        slot=row.slot or None,
        host=row.host,
        rerun=row.rerun,
    ).model_dump()


async def joins_of(db: AsyncSession, trace: bytes) -> Sequence[Any]:
    """The input ranges that met in a trace."""
    mine = select(_joins).where(_joins.c.trace == trace)
    return (await db.execute(mine.order_by(_joins.c.topic, _joins.c.partition, _joins.c.from_offset))).all()


async def spans_over(db: AsyncSession, topic: str, partition: int, offset: int) -> Sequence[Any]:
    """What was touched for stretches of messages in which this one lies."""
    mine = (_spans.c.reads == topic) & (_spans.c.partition == partition) & (_spans.c.direction == "out")
    over = mine & (_spans.c.to_offset > offset) & (_spans.c.from_offset <= offset)
    return (await db.execute(select(_spans).where(over).order_by(_spans.c.since_ms).limit(_MOST))).all()


async def joins_over(db: AsyncSession, topic: str, partition: int, offset: int) -> Sequence[Any]:
    """The traces in which this message met others."""
    mine = (_joins.c.topic == topic) & (_joins.c.partition == partition)
    over = mine & (_joins.c.to_offset > offset) & (_joins.c.from_offset <= offset)
    return (await db.execute(select(_joins).where(over).order_by(_joins.c.at_ms).limit(_MOST))).all()


async def spans_after(db: AsyncSession, process: bytes, at_ms: int) -> Sequence[Any]:
    """What a process touched, from then on for a while, for several messages at once."""
    mine = (_spans.c.process == process) & (_spans.c.partition == -1) & (_spans.c.direction == "out")
    then = mine & (_spans.c.until_ms >= at_ms) & (_spans.c.since_ms <= at_ms + _AFTER_MS)
    return (await db.execute(select(_spans).where(then).order_by(_spans.c.since_ms).limit(_MOST))).all()
