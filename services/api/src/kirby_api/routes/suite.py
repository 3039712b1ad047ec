"""The suite as a whole: where its parts are, and how they are."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Literal

import httpx2
from fastapi import APIRouter
from kirby_common.ledger.tables import Context, Environment, Job, Run
from kirby_common.ledger.transitions import STARTED, Status
from pydantic import BaseModel
from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.gate import Parts, Public, Reader
from kirby_api.access.permissions import Caller
from kirby_api.access.visible import readable
from kirby_api.resources import Resources
from kirby_api.routes.documents import PROBLEMS
from kirby_api.routes.supervisors import leader_of, supervisors

router = APIRouter(tags=["suite"], responses=PROBLEMS)


class Endpoints(BaseModel):
    ledger: str
    index: str | None
    vault: str


class LeaderInfo(BaseModel):
    name: str | None
    since: datetime | None
    alive: bool


class Part(BaseModel):
    name: str
    status: Literal["ok", "down"]
    detail: str | None = None


class Workers(BaseModel):
    alive: int
    total: int


class RunCounts(BaseModel):
    running: int
    pending: int
    failed_24h: int
    succeeded_24h: int


class NextDue(BaseModel):
    job: str
    env: str
    due_at: datetime


class Health(BaseModel):
    status: Literal["ok", "degraded"]
    version: str
    leader: LeaderInfo | None
    parts: list[Part]
    workers: Workers
    runs: RunCounts
    next: list[NextDue] = []


@router.get("/endpoints", dependencies=[Public], summary="Where workers find the worker endpoint, the index, the vault")
async def get_endpoints(parts: Parts) -> Endpoints:
    settings = parts.settings
    return Endpoints(
        ledger=settings.kirby_ledger_url, index=settings.kirby_package_index_url, vault=settings.kirby_vault_url
    )


@router.get("/health", summary="How the suite is")
async def get_health(parts: Parts, caller: Reader) -> Health:
    async with parts.sessions() as db:
        leader = await leader_of(db)
        workers = await supervisors(db, lease=parts.settings.kirby_lease)
        runs = await _counts(db, caller)
        following = await _next(db, caller)
    states = await _parts(parts)
    alive = sum(worker.alive for worker in workers)
    well = leader is not None and leader.alive and alive > 0 and all(part.status == "ok" for part in states)
    return Health(
        status="ok" if well else "degraded",
        version=parts.version,
        leader=LeaderInfo(name=leader.name, since=leader.since, alive=leader.alive) if leader else None,
        parts=states,
        workers=Workers(alive=alive, total=len(workers)),
        runs=runs,
        next=following,
    )


async def _counts(db: AsyncSession, caller: Caller) -> RunCounts:
    day = func.clock_timestamp() - timedelta(days=1)
    query = select(
        func.count().filter(Run.status.in_(STARTED)),
        func.count().filter(Run.status.in_([Status.PENDING, Status.CLAIMED, Status.RETRYING])),
        func.count().filter(Run.status.in_([Status.FAILED, Status.LOST]) & (Run.ended_at > day)),
        func.count().filter((Run.status == Status.SUCCEEDED) & (Run.ended_at > day)),
    )
    query = query.where(readable(caller, env=Run.env, namespace=Run.namespace))
    query = query.where(
        (Run.created_at > day) | Run.status.in_([*STARTED, Status.PENDING, Status.CLAIMED, Status.RETRYING])
    )
    running, pending, failed, succeeded = (await db.execute(query)).one()
    return RunCounts(running=running, pending=pending, failed_24h=failed, succeeded_24h=succeeded)


async def _next(db: AsyncSession, caller: Caller) -> list[NextDue]:
    query = (
        select(Job.name, Environment.name, func.coalesce(func.min(Run.due_at), Context.next_due_at).label("due"))
        .select_from(Context)
        .join(Job, Job.id == Context.job_id)
        .join(Environment, Environment.id == Context.environment_id)
        .outerjoin(Run, (Run.context_id == Context.id) & Run.status.in_([Status.PENDING, Status.CLAIMED]))
        .where(Context.state == "enabled", Context.next_due_at.is_not(None))
        .where(readable(caller, env=Environment.name, namespace=Job.namespace))
        .group_by(Job.name, Environment.name, Context.next_due_at)
        .order_by("due")
        .limit(10)
    )
    return [NextDue(job=job, env=env, due_at=due) for job, env, due in await db.execute(query)]


async def _parts(parts: Resources) -> list[Part]:
    """Each other part, asked at the same time and for at most 2 s."""
    settings = parts.settings
    checks: dict[str, Awaitable[str | None]] = {
        "kafka": _kafka(parts),
        "redis": _redis(parts),
        "ledger": _http(parts.http, f"{settings.kirby_ledger_url.rstrip('/')}/readyz"),
        "vault": _http(parts.http, f"{settings.kirby_vault_url.rstrip('/')}/readyz"),
        "notifier": _http(parts.http, f"{settings.kirby_notifier_url.rstrip('/')}/readyz"),
    }
    if settings.kirby_package_index_url:
        checks["index"] = _http(parts.http, settings.kirby_package_index_url)
    found = await asyncio.gather(*checks.values())
    return [
        Part(name="postgres", status="ok"),
        *(Part(name=n, status="down" if d else "ok", detail=d) for n, d in zip(checks, found, strict=True)),
    ]


async def _kafka(parts: Resources) -> str | None:
    return parts.relay.problem


async def _redis(parts: Resources) -> str | None:
    try:
        async with asyncio.timeout(2):
            await parts.throttle.redis.ping()
    except (RedisError, OSError, TimeoutError) as error:
        return str(error) or type(error).__name__
    return None


async def _http(client: httpx2.AsyncClient, url: str) -> str | None:
    try:
        answer = await client.get(url, timeout=2)
    except httpx2.HTTPError as error:
        return f"{url} does not answer: {error or type(error).__name__}"
    if answer.status_code == 503:
        problems = answer.json().get("problems", {})
        return "; ".join(f"{k}: {v}" for k, v in problems.items()) or "not ready"
    return None if answer.status_code < 500 else f"{url} answers {answer.status_code}"
