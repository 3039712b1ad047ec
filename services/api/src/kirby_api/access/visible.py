"""Lists show what the caller may read: their grants as a condition on a query's columns."""

from typing import Any

from kirby_common.ledger.tables import Context, Environment, Job
from sqlalchemy import ColumnElement, and_, false, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from kirby_api.access.permissions import Caller, Grant, Permission

Column = ColumnElement[Any] | InstrumentedAttribute[Any]


def readable(caller: Caller, *, env: Column | None = None, namespace: Column | None = None) -> ColumnElement[bool]:
    """True for the rows that a READ grant of the caller covers. Without a column, rows are in none (and match all).

    The counterpart of `Grant.covers` in SQL: a test holds them together.
    """
    grants = [grant for grant in caller.grants if grant.permission is Permission.READ]
    return or_(false(), *(and_(_matches(grant.env, env), _matches(grant.namespace, namespace)) for grant in grants))


def readable_context(caller: Caller, context_id: Column) -> ColumnElement[bool]:
    """True where the caller may read the context of that id."""
    if reads_all(caller):
        return true()
    where = readable(caller, env=Environment.name, namespace=Job.namespace)
    seen = select(Context.id).join(Job, Job.id == Context.job_id)
    return context_id.in_(seen.join(Environment, Environment.id == Context.environment_id).where(where))


def readable_job(caller: Caller, job_id: Column) -> ColumnElement[bool]:
    """True where the caller may read the job of that id."""
    if reads_all(caller):
        return true()
    return job_id.in_(select(Job.id).where(readable(caller, namespace=Job.namespace)))


async def readable_names(db: AsyncSession, caller: Caller) -> frozenset[str]:
    """The contexts that the caller may read, as job@env."""
    names = select(Job.name, Environment.name).select_from(Context).join(Job, Job.id == Context.job_id)
    names = names.join(Environment, Environment.id == Context.environment_id)
    rows = await db.execute(names.where(readable(caller, env=Environment.name, namespace=Job.namespace)))
    return frozenset(f"{job}@{env}" for job, env in rows)


def reads_all(caller: Caller) -> bool:
    """Who reads everywhere also reads what is left of contexts and jobs that are gone."""
    return Grant(Permission.READ) in caller.grants


def _matches(pattern: str, column: Column | None) -> ColumnElement[bool]:
    if pattern == "*" or column is None:
        return true()
    if pattern.endswith(".*"):
        return or_(column == pattern[:-2], column.startswith(pattern[:-1], autoescape=True))
    return column == pattern
