"""Packages that wait for the index: kept in the database, uploaded as soon as it answers."""

import asyncio
import base64

import structlog
from kirby_common.database import is_passing
from kirby_common.ledger.tables import Setting
from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from kirby_api.packages.distribution import Distribution, read_distribution
from kirby_api.packages.index import PackageIndex
from kirby_api.problems import Problem, Unavailable

log = structlog.get_logger()
_PREFIX = "pending-package/"


async def keep(db: AsyncSession, dist: Distribution) -> None:
    """Puts the package aside, in the caller's transaction."""
    value = {"content": base64.b64encode(dist.content).decode()}
    statement = insert(Setting).values(name=f"{_PREFIX}{dist.filename}", value=value)
    await db.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


async def upload_pending(engine: AsyncEngine, index: PackageIndex) -> int:
    """Uploads what waits; returns how many are done with. Raises `Unavailable`: then they go on waiting."""
    done = 0
    while True:
        async with AsyncSession(engine) as db, db.begin():
            query = select(Setting).where(Setting.name.startswith(_PREFIX)).order_by(Setting.name).limit(1)
            row = (await db.scalars(query.with_for_update(skip_locked=True))).one_or_none()
            if row is None:
                return done
            filename = row.name.removeprefix(_PREFIX)
            dist = read_distribution(filename, base64.b64decode(row.value["content"]))
            try:
                await index.upload(dist)
            except Unavailable:
                raise
            except Problem as problem:
                log.error("packages.refused", file=filename, reason=problem.detail)
            await retry_lock(db, dist)
            await db.execute(delete(Setting).where(Setting.name == row.name))
        done += 1


async def retry_lock(db: AsyncSession, dist: Distribution) -> None:
    """A version that could not be found before is looked for again, now that it is there."""
    await db.execute(
        text(
            "UPDATE locks SET status = 'wanted', error = NULL, tries = 0, not_before = clock_timestamp()"
            " WHERE package_name = :name AND package_version = :version"
            " AND (status = 'failed' OR (status = 'wanted' AND error IS NOT NULL))"
        ),
        {"name": dist.normal_name, "version": dist.version},
    )


async def keep_uploading(engine: AsyncEngine, index: PackageIndex, *, every_s: float = 2.0) -> None:
    """The loop of the web role: for ever."""
    told = False
    while True:
        try:
            if await upload_pending(engine, index):
                log.info("packages.uploaded")
            told = False
        except Unavailable as problem:
            if not told:
                log.warning("packages.waiting", reason=problem.detail)
            told = True
        except (DBAPIError, OSError) as error:
            if isinstance(error, DBAPIError) and not is_passing(error):
                raise
        await asyncio.sleep(every_s)
