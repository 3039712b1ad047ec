import re
from collections.abc import Sequence
from typing import Annotated, Any

from kirby_common.ledger.places import names_one_of
from kirby_common.ledger.runs import runs
from kirby_common.ledger.tables import Context, Environment, Job, Limit
from kirby_common.ledger.transitions import STARTED, Status
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.changes import Change
from kirby_api.kinds.kind import Form, Kind, View, sent
from kirby_api.kinds.names import Name, Text
from kirby_api.problems import Conflict, Invalid

_KEY = re.compile(r"job|env|namespace|(labels|variables)\..+|args\.[0-9]+")


def _key(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise ValueError("a key is job, env, namespace, labels.NAME, variables.NAME or args.0, args.1 …")
    return text


LimitKey = Annotated[str, StringConstraints(max_length=200), AfterValidator(_key)]


def _limit_name(text: str) -> str:
    if "," in text:
        raise ValueError("a limit's name has no comma")
    return text


LimitName = Annotated[Name, AfterValidator(_limit_name)]


class NewLimit(Form):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "warehouse", "places": 3, "description": "connections we may use"}]}
    )

    name: LimitName
    places: int = Field(ge=0, le=10_000, description="how many runs at once; 0 lets none start")
    key: LimitKey | None = Field(default=None, description="count each value of this by itself, e.g. labels.customer")
    description: Text = ""


class LimitPatch(Form):
    places: int | None = Field(default=None, ge=0, le=10_000)
    key: LimitKey | None = None
    description: Text | None = None


class LimitView(View):
    name: str
    places: int
    key: str | None
    description: str
    taken: int = Field(description="runs that hold a place now")
    waiting: int = Field(description="runs that wait for one now")
    jobs: list[str] = Field(description="what names it: a job, or JOB@ENV")


class Limits(Kind[Limit]):
    name, plural, title = "limit", "limits", "limit"
    row = Limit
    new, patch, view = NewLimit, LimitPatch, LimitView

    async def show(self, db: AsyncSession, rows: Sequence[Limit]) -> list[View]:
        users = await _users(db)
        now = await _runs_of(db, [row.name for row in rows])
        return [
            LimitView(
                id=row.id, rev=row.rev, name=row.name, places=row.places, key=row.key, description=row.description,
                taken=now.get(row.name, (0, 0))[0], waiting=now.get(row.name, (0, 0))[1],
                jobs=users.get(row.name, []),
            )
            for row in rows
        ]  # fmt: skip

    async def make(self, change: Change, form: Any) -> Limit:
        if await self.by_name(change.session, form.name) is not None:
            raise Conflict(f"limit '{form.name}' exists")
        row = Limit(**form.model_dump())
        change.session.add(row)
        return row

    async def alter(self, change: Change, row: Limit, form: Any) -> None:
        fields = sent(form)
        if fields.get("places", row.places) is None:
            raise Invalid("places: it can't be null; leave it out to keep it")
        for name, value in fields.items():
            setattr(row, name, "" if name == "description" and value is None else value)

    async def remove(self, change: Change, row: Limit) -> None:
        users = (await _users(change.session)).get(row.name, [])
        if users:
            raise Conflict(f"can't remove limit '{row.name}': {users[0]} names it; change its policy limits first")
        await change.session.delete(row)

    def told(self, value: dict[str, Any]) -> dict[str, Any]:
        return {name: fact for name, fact in value.items() if name not in ("taken", "waiting")}


async def _users(db: AsyncSession) -> dict[str, list[str]]:
    """What names each limit."""
    found: dict[str, list[str]] = {}
    jobs = (await db.execute(select(Job.name, Job.policies).order_by(Job.name))).all()
    contexts = await db.execute(
        select(Job.name, Environment.name.label("env"), Context.policies)
        .join(Job, Job.id == Context.job_id)
        .join(Environment, Environment.id == Context.environment_id)
        .order_by(Job.name, Environment.name)
    )
    named = [(job.name, job.policies) for job in jobs] + [(f"{c.name}@{c.env}", c.policies) for c in contexts]
    for who, policies in named:
        for limit in policies.get("limits", ()):
            found.setdefault(limit, []).append(who)
    return found


async def _runs_of(db: AsyncSession, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """How many runs hold a place of each, and how many wait for one."""
    alive = or_(
        runs.c.status.in_(STARTED),
        and_(runs.c.status == Status.LOST, runs.c.unfenced),
        and_(runs.c.status == Status.PENDING, runs.c.waits_for.is_not(None)),
    )
    counts: dict[str, tuple[int, int]] = {}
    for run in await db.execute(select(runs).where(alive, names_one_of(names))):
        for name in run.policies["limits"]:
            taken, waiting = counts.get(name, (0, 0))
            counts[name] = (taken, waiting + 1) if run.status == Status.PENDING else (taken + 1, waiting)
    return counts


async def require_limits(db: AsyncSession, policies: dict[str, Any]) -> None:
    """Raises `Invalid` when the policies name a limit that is not there."""
    names = policies.get("limits", ())
    if not names:
        return
    known = set(await db.scalars(select(Limit.name).where(Limit.name.in_(names))))
    missing = next((name for name in names if name not in known), None)
    if missing is not None:
        raise Invalid(f"policies: there is no limit '{missing}'; add it first: kirby limits add {missing} --places N")
