"""The ledger's schema: where its migrations are, and the partitions of `runs`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kirby_common.database import wait_and_migrate

_MIGRATION_LOCK = 0x6B697262  # "kirb"


async def prepare(engine: AsyncEngine) -> None:
    """Waits for the database, migrates it if no one else does, and sees to the partitions of now."""
    await wait_and_migrate(engine, scripts=Path(__file__).with_name("migrations"), lock=_MIGRATION_LOCK)
    async with engine.begin() as connection:
        await ensure_partitions(connection, now=datetime.now(UTC))


async def ensure_partitions(connection: AsyncConnection, *, now: datetime, months: int = 3) -> None:
    """Makes the partitions of `runs` for this month and those after it, where they are missing.

    Making one needs a strong lock on `runs`, so that is asked for only when one is missing.
    """
    wanted = list(_months(now, months))
    present = text("SELECT count(*) FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(name) IS NOT NULL")
    names = [name for name, _, _ in wanted]
    if (await connection.execute(present, {"names": names})).scalar_one() == len(names):
        return
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    await connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _MIGRATION_LOCK + 1})
    for name, first, beyond in wanted:
        await _make_partition(connection, name, first, beyond)


async def _make_partition(connection: AsyncConnection, name: str, first: str, beyond: str) -> None:
    """Rows of that month which had no partition so far, because nobody led for months, move into it."""
    month = f"FOR VALUES FROM ('{first}') TO ('{beyond}')"
    within = f"created_at >= '{first}' AND created_at < '{beyond}'"
    stray = text(f"SELECT EXISTS (SELECT 1 FROM runs_default WHERE {within})")
    if not (await connection.execute(stray)).scalar_one():
        await connection.execute(text(f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF runs {month}"))
        return
    for statement in (
        f"CREATE TABLE {name} (LIKE runs INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
        f"WITH moved AS (DELETE FROM runs_default WHERE {within} RETURNING *) INSERT INTO {name} SELECT * FROM moved",
        f"ALTER TABLE runs ATTACH PARTITION {name} {month}",
    ):
        await connection.execute(text(statement))


def end_of_month(name: str) -> datetime:
    """The first instant beyond the partition with this name."""
    _, year, month = name.split("_")
    return datetime(int(year) + int(month) // 12, int(month) % 12 + 1, 1, tzinfo=UTC)


def _months(now: datetime, months: int) -> Iterator[tuple[str, str, str]]:
    """Per month the partition's name, its first instant and the first one beyond it."""
    year, month = now.year, now.month
    for _ in range(months):
        following = (year + 1, 1) if month == 12 else (year, month + 1)
        yield f"runs_{year}_{month:02d}", f"{year}-{month:02d}-01Z", f"{following[0]}-{following[1]:02d}-01Z"
        year, month = following
