"""Workers as the ledger knows them, who leads, and tokens for new workers."""

from datetime import datetime, timedelta

from fastapi import APIRouter
from kirby_common.ledger.tables import Attempt, Leader, Worker, WorkerToken
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.gate import Administrator, Parts, Reader
from kirby_api.access.tokens import WORKER_PREFIX, hashed, new_token
from kirby_api.kinds.kind import Form
from kirby_api.kinds.names import Name
from kirby_api.paging import Page
from kirby_api.problems import NotFound
from kirby_api.routes.documents import PROBLEMS

router = APIRouter(tags=["supervisors"], responses=PROBLEMS)


class SupervisorView(BaseModel):
    name: str
    host: str
    pool: str
    alive: bool
    leader: bool
    since: datetime
    last_beat_at: datetime
    beat: int
    max_beat_gap_ms: float
    lease_ms: int
    running: int
    places: int
    version: str
    python: str
    draining: bool
    labels: dict[str, str] = {}


class LeaderView(BaseModel):
    name: str | None
    epoch: int
    since: datetime | None
    lease_until: datetime | None
    alive: bool


class NewSupervisor(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "server-2"}]})

    name: Name


class Enrolled(BaseModel):
    """`token` is shown once: KIRBY_WORKER_TOKEN of `kirby worker NAME`."""

    name: str
    token: str


async def leader_of(db: AsyncSession) -> LeaderView | None:
    """Who leads, or None when no one ever did."""
    row = (await db.execute(select(Leader, (Leader.lease_until > func.clock_timestamp()).label("alive")))).one()
    leader: Leader = row.Leader
    if leader.holder is None:
        return None
    return LeaderView(
        name=leader.name, epoch=leader.epoch, since=leader.since, lease_until=leader.lease_until,
        alive=bool(row.alive),
    )  # fmt: skip


async def supervisors(db: AsyncSession, *, lease: timedelta) -> list[SupervisorView]:
    leader = await leader_of(db)
    busy = (
        select(Attempt.worker, func.count().label("n"))
        .where(Attempt.open, Attempt.launching_at.is_not(None))
        .group_by(Attempt.worker)
        .subquery()
    )
    alive = (Worker.last_beat_at > func.clock_timestamp() - lease) & Worker.gone.is_(False)
    query = select(Worker, alive.label("alive"), func.coalesce(busy.c.n, 0).label("running"))
    rows = await db.execute(query.outerjoin(busy, busy.c.worker == Worker.name).order_by(Worker.name))
    return [_view(r.Worker, r.alive, r.running, leader, lease) for r in rows]


def _view(w: Worker, alive: bool, running: int, leader: LeaderView | None, lease: timedelta) -> SupervisorView:
    leads = leader is not None and leader.alive and leader.name == w.name
    return SupervisorView(
        name=w.name, host=w.host, pool=w.pool, alive=alive, leader=leads, since=w.since, last_beat_at=w.last_beat_at,
        beat=w.beat, max_beat_gap_ms=w.max_beat_gap_ms, lease_ms=round(lease.total_seconds() * 1000), running=running,
        places=w.places, version=w.version, python=w.python, draining=w.draining, labels=w.labels,
    )  # fmt: skip


@router.get("/supervisors", summary="The workers, and which of them leads")
async def list_supervisors(parts: Parts, caller: Reader) -> Page[SupervisorView]:
    async with parts.sessions() as db:
        return Page(items=await supervisors(db, lease=parts.settings.kirby_lease))


@router.post("/supervisors", status_code=201, summary="A token for a new worker")
async def enrol_supervisor(form: NewSupervisor, parts: Parts, caller: Administrator) -> Enrolled:
    token = new_token(WORKER_PREFIX)
    async with parts.sessions.begin() as db:
        db.add(WorkerToken(token_hash=hashed(token), name=form.name, created_by=caller.name))
    return Enrolled(name=form.name, token=token)


@router.get("/leader", summary="Who leads")
async def get_leader(parts: Parts, caller: Reader) -> LeaderView:
    async with parts.sessions() as db:
        leader = await leader_of(db)
    if leader is None:
        raise NotFound("no scheduler has led yet; start one with `kirby supervisor NAME`")
    return leader
