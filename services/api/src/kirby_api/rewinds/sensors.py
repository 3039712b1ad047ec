"""The rewind of a scheduled job: its due times run again, as a backfill whose runs are flagged."""

from kirby_common.ledger import backfill_orders
from kirby_common.ledger.tables import Context, Environment, Job
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller, Permission
from kirby_api.backfills.planning import Planned, plan
from kirby_api.backfills.query import shown
from kirby_api.backfills.view import BackfillView, NewBackfill
from kirby_api.kinds.references import context_named, place_of_context
from kirby_api.problems import Invalid, NotFound
from kirby_api.rewinds.view import NewRewind


async def planned(db: AsyncSession, form: NewRewind, caller: Caller, *, most: int) -> Planned:
    """Raises `NotFound` when the target is no job, `Invalid`, `Conflict`, `Forbidden`."""
    env = await _environment(db, form)
    if form.mode == "shadow":
        raise Invalid(
            f"'{form.target}' is a scheduled job: there is no rewind of it in shadow; its due times run again without"
            " --mode, or try it in another environment"
        )
    if form.rate is not None:
        raise Invalid(f"'{form.target}' is a scheduled job: its due times run one after the other, without a rate")
    context = await context_named(db, form.target, env)
    caller.require(Permission.OPERATE, await place_of_context(db, context.id))
    again = NewBackfill(job=form.target, env=env, from_=form.from_, to=form.to, existing="anew", rerun=True)
    return await plan(db, again, context.id, most=most)


async def start(db: AsyncSession, form: NewRewind, caller: Caller, *, most: int) -> BackfillView:
    """Raises as `planned`."""
    made = await planned(db, form, caller, most=most)
    return await shown(db, await backfill_orders.start(db, made.wanted, made.context, total=made.total, by=caller.name))


async def _environment(db: AsyncSession, form: NewRewind) -> str:
    found = select(Environment.name).join(Context, Context.environment_id == Environment.id)
    found = found.join(Job, Job.id == Context.job_id).where(Job.name == form.target).order_by(Environment.name)
    envs = [env for env in (await db.scalars(found)).all() if form.env in (None, env)]
    if not envs:
        where = f" in {form.env}" if form.env else ""
        raise NotFound(
            f"no daemon of Kirby has read a topic '{form.target}'{where}, and no job is called so:"
            " `kirby daemons` and `kirby topics list` name them"
        )
    if len(envs) > 1:
        raise Invalid(f"'{form.target}' runs in {', '.join(envs)}: give --env")
    return envs[0]
