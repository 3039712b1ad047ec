"""The notifier's Postgres schema."""

from pathlib import Path

from kirby_common.database import wait_and_migrate
from sqlalchemy.ext.asyncio import AsyncEngine

SCHEMA = "notifier"
_MIGRATION_LOCK = 0x6E6F7469  # "noti"
_MIGRATIONS = Path(__file__).parent.parent / "migrations"


async def prepare(engine: AsyncEngine) -> None:
    """Waits for the database and migrates it if no one else does."""
    await wait_and_migrate(engine, scripts=_MIGRATIONS, lock=_MIGRATION_LOCK, schema=SCHEMA)
