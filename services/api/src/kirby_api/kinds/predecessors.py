"""What a job comes after: `JOB`, or `JOB:failure` and `JOB:done` for another end than success."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from kirby_common.ledger.succession import Edge, circle
from kirby_common.ledger.tables import Job, JobPredecessor
from pydantic import AfterValidator, StringConstraints
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.kinds.names import NAME
from kirby_api.problems import Conflict, Invalid

_CONDITIONS = ("success", "failure", "done")


def _after(text: str) -> str:
    name, colon, on = text.partition(":")
    if colon and on not in _CONDITIONS:
        raise ValueError(f"'{text}': write JOB, JOB:success, JOB:failure or JOB:done")
    NAME.validate_python(name)
    return name if on in ("", "success") else text


After = Annotated[str, StringConstraints(max_length=220), AfterValidator(_after)]


async def set_predecessors(db: AsyncSession, job: Job, after: Sequence[str]) -> None:
    """Replaces what the job comes after. Raises `Invalid` for an unknown job, a daemon, or a circle.

    Callers hold the rules gate: two edits can't close a circle together.
    """
    wanted = {text.partition(":")[0]: text.partition(":")[2] or "success" for text in after}
    found = {row.name: row for row in await db.scalars(select(Job).where(Job.name.in_(wanted)))}
    if wanted and job.type == "daemon":
        raise Invalid(f"after: '{job.name}' is a daemon: it runs all the time and comes after nothing")
    for name in wanted:
        if name not in found:
            raise Invalid(f"after: there is no job '{name}'")
        if found[name].type == "daemon":
            raise Invalid(f"after: '{name}' is a daemon and has no end to come after")
    await db.execute(delete(JobPredecessor).where(JobPredecessor.job_id == job.id))
    db.add_all(JobPredecessor(job_id=job.id, predecessor_id=found[name].id, on=on) for name, on in wanted.items())
    await db.flush()
    await _refuse_circle(db, job)


async def _refuse_circle(db: AsyncSession, job: Job) -> None:
    edges = [Edge(e.job_id, e.predecessor_id, e.on) for e in await db.scalars(select(JobPredecessor))]  # type: ignore[arg-type]
    way = circle(edges, job.id)
    if way is not None:
        names = {row.id: row.name for row in await db.execute(select(Job.id, Job.name).where(Job.id.in_(way)))}
        raise Invalid(f"after: {' → '.join(names[id_] for id_ in way)} is a circle: no run of it could be the first")


async def require_no_successors(db: AsyncSession, job: Job, *, doing: str) -> None:
    """Raises `Conflict` when another job comes after this one."""
    following = (await successors_of(db, [job.id])).get(job.id)
    if following:
        raise Conflict(
            f"can't {doing}: {following[0].partition(':')[0]} comes after it; change that job's `after` first"
        )


async def predecessors_of(db: AsyncSession, jobs: Sequence[UUID]) -> dict[UUID, list[str]]:
    """What each job comes after."""
    return await _named(db, jobs, of="job_id", names="predecessor_id")


async def successors_of(db: AsyncSession, jobs: Sequence[UUID]) -> dict[UUID, list[str]]:
    """What comes after each job."""
    return await _named(db, jobs, of="predecessor_id", names="job_id")


async def _named(db: AsyncSession, jobs: Sequence[UUID], *, of: str, names: str) -> dict[UUID, list[str]]:
    columns = JobPredecessor.__table__.c
    query = (
        select(columns[of].label("of"), Job.name, columns["on"])
        .join(Job, Job.id == columns[names])
        .where(columns[of].in_(jobs))
        .order_by(Job.name)
    )
    found: dict[UUID, list[str]] = {}
    for row in await db.execute(query):
        found.setdefault(row.of, []).append(row.name if row.on == "success" else f"{row.name}:{row.on}")
    return found
