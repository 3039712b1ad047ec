"""Finding things by the names that people use in requests. Each miss is a sentence."""

from typing import TypeVar
from uuid import UUID

from kirby_common.ledger.tables import Base, Context, Environment, Job, NotificationGroup, Schedule, Script
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Place
from kirby_api.problems import Invalid, NotFound

R = TypeVar("R", bound=Base)


async def named(db: AsyncSession, row: type[R], name: str, *, title: str) -> R:
    """Raises `Invalid`: a reference to something that is not there."""
    found = (await db.scalars(select(row).where(row.name == name))).one_or_none()  # type: ignore[attr-defined]
    if found is None:
        raise Invalid(f"there is no {title} '{name}'")
    return found


async def job_named(db: AsyncSession, name: str) -> Job:
    return await named(db, Job, name, title="job")


async def environment_named(db: AsyncSession, name: str) -> Environment:
    return await named(db, Environment, name, title="environment")


async def schedule_named(db: AsyncSession, name: str) -> Schedule:
    return await named(db, Schedule, name, title="schedule")


async def group_named(db: AsyncSession, name: str) -> NotificationGroup:
    return await named(db, NotificationGroup, name, title="notification group")


async def context_named(db: AsyncSession, job: str, env: str) -> Context:
    """Raises `Invalid` when the job, the environment or their context is not there."""
    found = (
        await db.scalars(
            select(Context)
            .where(Context.job_id == (await job_named(db, job)).id)
            .where(Context.environment_id == (await environment_named(db, env)).id)
        )
    ).one_or_none()
    if found is None:
        raise Invalid(f"job '{job}' is not in environment '{env}'; deploy it there first")
    return found


async def place_of_context(db: AsyncSession, context_id: UUID) -> Place:
    row = (
        await db.execute(
            select(Environment.name, Job.namespace)
            .select_from(Context)
            .join(Job, Job.id == Context.job_id)
            .join(Environment, Environment.id == Context.environment_id)
            .where(Context.id == context_id)
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no context {context_id}")
    return Place(env=row.name, namespace=row.namespace)


async def script_of(db: AsyncSession, package: str, version: str, *, entry: str | None) -> Script | None:
    return (
        await db.scalars(
            select(Script)
            .where(Script.package_name == package, Script.package_version == version)
            .where(Script.entry.is_not_distinct_from(entry))
        )
    ).one_or_none()
