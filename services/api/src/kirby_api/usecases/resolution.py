"""Waiting for a version's lock before anything is changed, so that a bad package leaves nothing behind."""

from kirby_common.ledger import locks
from kirby_common.ledger.tables import Lock, Script
from sqlalchemy import delete, exists, select

from kirby_api.problems import Invalid
from kirby_api.resources import Resources
from kirby_api.runs.wait import wait_for


async def await_lock(parts: Resources, package: str, version: str, *, seconds: float) -> None:
    """Has a worker resolve the version. Raises `Invalid` with its sentence when the version can't be had.

    When the time is over it returns: the context will wait as `enabling`.
    """
    async with parts.sessions.begin() as db:
        await locks.want(db, package, version)

    async def look() -> Lock | None:
        async with parts.sessions() as db:
            query = select(Lock).where(Lock.package_name == package, Lock.package_version == version)
            return (await db.scalars(query)).one_or_none()

    found = await wait_for(look, done=lambda k: k is None or k.status in ("ready", "failed"), seconds=seconds)
    if found is not None and found.status == "failed":
        await _forget(parts, found)
        raise Invalid(found.error or f"{package} {version} can't be resolved", package=package, version=version)


async def _forget(parts: Resources, lock: Lock) -> None:
    """Drops a failed lock that nothing but this request asked for."""
    wanted = exists().where(Script.package_name == lock.package_name, Script.package_version == lock.package_version)
    async with parts.sessions.begin() as db:
        await db.execute(delete(Lock).where(Lock.id == lock.id, Lock.status == "failed", ~wanted))
