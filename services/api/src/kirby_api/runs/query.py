"""Reading runs: one, or a page of those that match, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kirby_common.ledger.tables import Attempt, Run
from kirby_common.ledger.transitions import Status
from sqlalchemy import ColumnElement, Select, String, cast, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller, Place
from kirby_api.access.visible import readable
from kirby_api.paging import cut, encode_cursor, newest_first
from kirby_api.problems import Invalid, NotFound
from kirby_api.runs.view import RunView, run_view


@dataclass(frozen=True)
class RunFilter:
    """What a list of runs is narrowed to. `status` and `kind` may name several, joined by commas."""

    job: str | None = None
    env: str | None = None
    status: str | None = None
    kind: str | None = None
    namespace: str | None = None
    label: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    parent: UUID | None = None
    backfill: UUID | None = None

    def apply(self, query: Select[Run]) -> Select[Run]:
        exact = (
            (Run.job, self.job), (Run.env, self.env), (Run.parent_run_id, self.parent), (Run.backfill_id, self.backfill)
        )  # fmt: skip
        for column, value in exact:
            if value is not None:
                query = query.where(column == value)
        if self.status:
            query = query.where(Run.status.in_(_statuses(self.status)))
        if self.kind:
            query = query.where(Run.kind.in_(self.kind.split(",")))
        if self.namespace:
            query = query.where(or_(Run.namespace == self.namespace, Run.namespace.startswith(f"{self.namespace}.")))
        if self.label:
            key, _, value = self.label.partition("=")
            query = query.where(Run.labels.contains({key: value}))
        if self.since is not None:
            query = query.where(Run.created_at >= self.since)
        if self.until is not None:
            query = query.where(Run.created_at < self.until)
        if self.text:
            query = query.where(_mentions(self.text))
        return query


def _statuses(text: str) -> list[str]:
    wanted = [part.strip().upper() for part in text.split(",") if part.strip()]
    for status in wanted:
        if status not in Status.__members__:
            raise Invalid(f"status '{status}' is unknown; known are {', '.join(Status)}")
    return wanted


def _mentions(text: str) -> ColumnElement[bool]:
    columns = (Run.job, Run.env, Run.package_name, Run.reason)
    return or_(
        *(column.icontains(text, autoescape=True) for column in columns),
        cast(Run.id, String).startswith(text.lower(), autoescape=True),
    )


async def page_of_runs(
    db: AsyncSession, wanted: RunFilter, caller: Caller, *, limit: int, cursor: str | None
) -> tuple[list[RunView], str | None]:
    visible = readable(caller, env=Run.env, namespace=Run.namespace)
    query = newest_first(wanted.apply(select(Run)).where(visible), Run.created_at, Run.id, limit=limit, cursor=cursor)
    found: Sequence[Run] = (await db.scalars(query)).all()
    rows, more = cut(found, limit)
    following = encode_cursor(rows[-1].created_at.isoformat(), str(rows[-1].id)) if more else None
    tries: dict[UUID, list[Attempt]] = {}
    query_attempts = select(Attempt).where(Attempt.run_id.in_([row.id for row in rows])).order_by(Attempt.grant)
    for attempt in await db.scalars(query_attempts):
        tries.setdefault(attempt.run_id, []).append(attempt)
    return [run_view(row, tries.get(row.id, [])) for row in rows], following


async def find_run(db: AsyncSession, run_id: UUID) -> Run:
    """Raises `NotFound`."""
    row = (await db.scalars(select(Run).where(Run.id == run_id))).one_or_none()
    if row is None:
        raise NotFound(f"there is no run {run_id}")
    return row


async def attempts_of(db: AsyncSession, run_id: UUID) -> Sequence[Attempt]:
    return (await db.scalars(select(Attempt).where(Attempt.run_id == run_id).order_by(Attempt.grant))).all()


async def whole_run(db: AsyncSession, run_id: UUID) -> RunView:
    """The run with its attempts. Raises `NotFound`."""
    return run_view(await find_run(db, run_id), await attempts_of(db, run_id))


def place_of(run: Run) -> Place:
    return Place(env=run.env, namespace=run.namespace)
