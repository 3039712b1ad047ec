"""Deployments: a job in an environment, in one request."""

from fastapi import APIRouter
from sqlalchemy import text

from kirby_api.access.gate import Configurer, Parts
from kirby_api.access.permissions import Caller
from kirby_api.changes import Change, change
from kirby_api.kinds.contexts import Contexts, ContextView
from kirby_api.resources import Resources
from kirby_api.routes.documents import PROBLEMS
from kirby_api.routes.idempotent import IdempotentRoute
from kirby_api.runs.wait import Wait, wait_for
from kirby_api.usecases.deploy import Deployed, NewDeployment, check_place, deploy
from kirby_api.usecases.resolution import await_lock

router = APIRouter(tags=["deployments"], responses=PROBLEMS, route_class=IdempotentRoute)


@router.post("/deployments", status_code=201, summary="Deploy a package as a job in an environment")
async def create_deployment(form: NewDeployment, parts: Parts, caller: Configurer, wait: Wait = 0) -> Deployed:
    """With `wait`, the version is resolved first: one that can't be had changes nothing (422)."""
    if wait and form.enable:
        await _rehearse(parts, caller, form)
        await await_lock(parts, form.package_name, form.package_version, seconds=wait)
    async with change(parts, caller, rules_too=True) as made:
        await check_place(made.session, form, caller)
        deployed = await deploy(made, form)
    if wait and form.enable:
        deployed.context = await _enabled(parts, deployed.context, seconds=wait)
    return deployed


async def _rehearse(parts: Resources, caller: Caller, form: NewDeployment) -> None:
    """Does it all and takes it back: what is wrong with the request is told before a worker is asked.

    Under the gate, as the deployment itself, so that two of the same thing at once don't get into each other's way.
    """
    async with parts.sessions() as db:
        await db.execute(text("SELECT rev FROM rules_gate FOR UPDATE"))
        await check_place(db, form, caller)
        await deploy(Change(db, caller), form)
        await db.rollback()


async def _enabled(parts: Resources, context: ContextView, *, seconds: float) -> ContextView:
    kind = Contexts()

    async def look() -> ContextView:
        async with parts.sessions() as db:
            view = await kind.one(db, await kind.find(db, str(context.id)))
            assert isinstance(view, ContextView)
            return view

    return await wait_for(look, done=lambda c: c.state != "enabling", seconds=min(seconds, 5))
