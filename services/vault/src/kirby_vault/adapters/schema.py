"""The vault's Postgres schema: its migrations, and the check that the key is the right one."""

from pathlib import Path

from kirby_common.database import wait_and_migrate
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kirby_vault.domain.envelope import MasterKey, check_matches, make_check
from kirby_vault.errors import WrongKey

SCHEMA = "vault"
_MIGRATION_LOCK = 0x7661756C  # "vaul"
_MIGRATIONS = Path(__file__).parent.parent / "migrations"


async def prepare(engine: AsyncEngine, *, key: MasterKey) -> None:
    """Waits for the database, refuses a wrong key before anything is changed, migrates, remembers a first key.

    Raises `WrongKey`.
    """
    await _refuse_wrong_key(engine, key=key)
    await wait_and_migrate(engine, scripts=_MIGRATIONS, lock=_MIGRATION_LOCK, schema=SCHEMA)
    async with engine.begin() as connection:
        await connection.execute(
            text("INSERT INTO vault.key_check (key_id, sealed) VALUES (:id, :sealed) ON CONFLICT DO NOTHING"),
            {"id": key.id, "sealed": make_check(key)},
        )
        await _compare(connection, key=key)


async def _refuse_wrong_key(engine: AsyncEngine, *, key: MasterKey) -> None:
    """Before the migration: an absent database is left to the wait that follows."""
    try:
        async with engine.connect() as connection:
            if await connection.scalar(text("SELECT to_regclass('vault.key_check')")) is not None:
                await _compare(connection, key=key)
    except (OSError, DBAPIError):
        return


async def _compare(connection: AsyncConnection, *, key: MasterKey) -> None:
    row = (await connection.execute(text("SELECT key_id, sealed FROM vault.key_check"))).first()
    if row is not None and not check_matches(row.sealed, key=key):
        raise WrongKey(
            f"the vault key (id {key.id}) is not the one that this vault's secrets are encrypted with"
            f" (id {row.key_id}); nothing was changed: put the right key file back"
        )
