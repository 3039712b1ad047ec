"""PostgreSQL for the services that have tables: the address, the engine, and migration by whoever starts first."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

log = structlog.get_logger()

NEEDS_POSTGRES = "Kirby needs PostgreSQL; `make dev` starts one"
_CONNECT_S = 10.0
_SCHEMES = {"postgres", "postgresql", "postgresql+asyncpg"}


class NotPostgres(ValueError):
    """The database address is not one of a PostgreSQL server."""


def normalise_uri(uri: str) -> str:
    """The address as SQLAlchemy's asyncpg dialect takes it. Raises `NotPostgres`."""
    parts = urlsplit(uri)
    if parts.scheme not in _SCHEMES:
        raise NotPostgres(NEEDS_POSTGRES)
    return urlunsplit(("postgresql+asyncpg", *parts[1:]))


class _Pool(AsyncAdaptedQueuePool):
    """Says in the language's own error that all connections are in use: no caller has to know the driver's."""

    def _do_get(self) -> Any:
        try:
            return super()._do_get()
        except PoolTimeout as error:
            raise TimeoutError("all connections to the database are in use") from error


def connect(
    uri: str, *, application: str, pool_size: int = 10, statement_timeout_ms: int = 30_000, lock_timeout_ms: int = 0
) -> AsyncEngine:
    """An engine; nothing is connected yet. Sessions die when idle inside a transaction for 30 s.

    `lock_timeout_ms`: how long a statement waits for a row that another holds; 0: as long as for anything else.
    """
    engine = create_async_engine(
        normalise_uri(uri),
        poolclass=_Pool,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_use_lifo=True,  # Few connections do most of the work, and the others' server processes sleep.
        hide_parameters=True,  # A value may be a credential; errors are logged.
        connect_args={
            "timeout": _CONNECT_S,
            # The server ends a statement before this; over a line that is half open, no answer would ever come.
            "command_timeout": statement_timeout_ms / 1000 + 5,
            "server_settings": {
                "application_name": application,
                "statement_timeout": str(statement_timeout_ms),
                "lock_timeout": str(lock_timeout_ms),
                "idle_in_transaction_session_timeout": "30000",
                "jit": "off",
                "timezone": "UTC",
            },
        },
    )
    return engine


async def migrate(engine: AsyncEngine, *, scripts: Path, lock: int, schema: str | None = None) -> None:
    """Brings the schema to the newest version; concurrent callers wait for the first.

    `lock` is the advisory lock's number, one per migration history.
    """
    async with engine.connect() as connection:
        await connection.execute(text("SET statement_timeout = 0"))
        await connection.execute(text("SET lock_timeout = 0"))
        await connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
        await connection.execute(text("SELECT pg_advisory_lock(:n)"), {"n": lock})
        await connection.commit()
        try:
            if schema is not None:
                await connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
                await connection.commit()
            await connection.run_sync(_upgrade, scripts, schema)
            await connection.commit()
        finally:
            await connection.rollback()
            await connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": lock})
            await connection.commit()
            await connection.invalidate()


def _upgrade(connection: Connection, scripts: Path, schema: str | None) -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = connection
    config.attributes["schema"] = schema
    command.upgrade(config, "head")


async def wait_and_migrate(
    engine: AsyncEngine, *, scripts: Path, lock: int, schema: str | None = None, retry_s: float = 1.0
) -> None:
    """As `migrate`, but waits for an absent database and says so once."""
    told = False
    while True:
        try:
            return await migrate(engine, scripts=scripts, lock=lock, schema=schema)
        except (OSError, ConnectionError, TimeoutError) as error:
            if not told:
                log.warning("database.waiting", reason=str(error) or type(error).__name__)
                told = True
        except Exception as error:
            if not is_passing(error):
                raise
            if not told:
                log.warning("database.waiting", reason=str(error.__cause__ or error).split("\n")[0])
                told = True
        await asyncio.sleep(retry_s)


def is_passing(error: BaseException) -> bool:
    """Whether the error passes by itself: the server is away or starting, or others were in the way.

    All else says that we asked for something wrong.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError | ConnectionError | TimeoutError):
            return True
        if type(seen).__name__ in {
            "CannotConnectNowError",
            "ConnectionDoesNotExistError",
            "AdminShutdownError",
            "CrashShutdownError",
            "TooManyConnectionsError",
            "InterfaceError",
            "InternalClientError",
            "InvalidCatalogNameError",
            "DeadlockDetectedError",
            "LockNotAvailableError",
            "QueryCanceledError",
        }:
            return True
        seen = seen.__cause__ or getattr(seen, "orig", None)
    return False


def is_lock_timeout(error: DBAPIError) -> bool:
    """Whether a lock was not to be had within `lock_timeout`."""
    return getattr(error.orig, "sqlstate", None) == "55P03"
