"""Daemons: how they are, replica by replica, and a new start for them."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from kirby_common.ledger import daemons, health
from kirby_common.ledger.daemons import DaemonRow, SlotRow
from kirby_common.ledger.health import Health, SlotState
from kirby_common.ledger.materialise import database_now
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.gate import Operator, Parts, Reader
from kirby_api.access.permissions import Permission, Place
from kirby_api.kinds.kind import Form
from kirby_api.kinds.names import EnvironmentName, Name
from kirby_api.kinds.references import context_named, place_of_context
from kirby_api.paging import Page
from kirby_api.problems import Conflict, NotFound
from kirby_api.routes.documents import PROBLEMS

router = APIRouter(tags=["daemons"], responses=PROBLEMS)


class SlotView(BaseModel):
    """A replica. `crashes` are quick exits in a row; `restarts` all generations that followed an end."""

    slot: int
    state: SlotState
    health: Health
    reason: str
    generation: int
    version: str | None
    run_id: UUID | None
    old_run_id: UUID | None
    worker: str | None
    restarts: int
    crashes: int
    up_since: datetime | None
    not_before: datetime | None


class DaemonView(BaseModel):
    """`live` of `wanted` replicas run. `lag` is how many messages wait for its group, null where that is not known."""

    context_id: UUID
    job: str
    env: str
    namespace: str
    version: str | None
    group: str | None
    exclusive: bool
    health: Health
    reason: str
    live: int
    wanted: int
    lag: int | None
    moved_at: datetime | None
    restarts: int
    slots: list[SlotView]


class Restart(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [{"job": "aggregator", "env": "prod"}]})

    job: Name
    env: EnvironmentName
    slot: int | None = None


@router.get("/daemons", summary="How the daemons are")
async def list_daemons(
    parts: Parts,
    caller: Reader,
    job: str | None = None,
    env: str | None = None,
    state: Annotated[Health | None, Query(alias="health", description="only those that are so")] = None,
) -> Page[DaemonView]:
    async with parts.sessions() as db:
        found = await _views(db, lease=parts.settings.kirby_lease)
    found = [d for d in found if caller.may(Permission.READ, Place(env=d.env, namespace=d.namespace))]
    return Page(items=[d for d in found if job in (None, d.job) and env in (None, d.env) and state in (None, d.health)])


@router.get("/daemons/{context_id}", summary="How one daemon is")
async def get_daemon(context_id: UUID, parts: Parts, caller: Reader) -> DaemonView:
    async with parts.sessions() as db:
        found = await _views(db, lease=parts.settings.kirby_lease, context_id=context_id)
    if not found:
        raise NotFound(f"there is no daemon {context_id}; `kirby daemons list` names them")
    caller.require(Permission.READ, Place(env=found[0].env, namespace=found[0].namespace))
    return found[0]


@router.post("/daemons/restart", status_code=202, summary="A new generation of a daemon's replicas, or of one")
async def restart_daemon(form: Restart, parts: Parts, caller: Operator) -> DaemonView:
    """As with a new version: one replica after the other, the new one up before the old one drains, unless the daemon
    is exclusive. A crash loop is tried again at once.
    """
    async with parts.sessions.begin() as db:
        context = await context_named(db, form.job, form.env)
        caller.require(Permission.OPERATE, await place_of_context(db, context.id))
        found = await _views(db, lease=parts.settings.kirby_lease, context_id=context.id)
        if not found:
            raise Conflict(f"{form.job} in {form.env} is not a daemon: run it again with `kirby trigger`")
        view = found[0]
        if not await daemons.restart(db, context.id, slot=form.slot):
            which = "no replica" if form.slot is None else f"no replica {form.slot}"
            raise Conflict(f"{form.job} in {form.env} has {which} to restart: it is {view.health} ({view.reason})")
        return view


async def _views(db: AsyncSession, *, lease: timedelta, context_id: UUID | None = None) -> list[DaemonView]:
    now = await database_now(db)
    return [_view(d, lease=lease, now=now) for d in await daemons.load(db, context_id=context_id)]


def _view(daemon: DaemonRow, *, lease: timedelta, now: datetime) -> DaemonView:
    verdict = health.judge(daemon.facts, lease=lease, now=now)
    progress = daemon.facts.progress
    return DaemonView(
        context_id=daemon.context_id, job=daemon.job, env=daemon.env, namespace=daemon.namespace,
        version=daemon.version, group=daemon.group, exclusive=daemon.exclusive, health=verdict.health,
        reason=verdict.reason, live=verdict.live, wanted=verdict.wanted, lag=progress and progress.lag,
        moved_at=progress and progress.moved_at, restarts=sum(s.restarts for s in daemon.slots),
        slots=[_slot(s, verdict.slots[s.facts.slot]) for s in daemon.slots],
    )  # fmt: skip


def _slot(slot: SlotRow, verdict: health.Verdict) -> SlotView:
    facts = slot.facts
    return SlotView(
        slot=facts.slot, state=facts.state, health=verdict.health, reason=verdict.reason, generation=slot.generation,
        version=slot.version, run_id=slot.run_id, old_run_id=slot.old_run_id, worker=facts.worker,
        restarts=slot.restarts, crashes=facts.crashes, up_since=facts.up_since, not_before=facts.not_before,
    )  # fmt: skip
