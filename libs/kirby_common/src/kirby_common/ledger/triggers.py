"""What people ask of single runs: trigger, cancel, kill, rerun."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kirby_common.ledger import attempts, contexts, ids
from kirby_common.ledger.contexts import ContextView
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.outbox import Tx, put_all
from kirby_common.ledger.runs import NewRun, RunRow, amend, insert_runs, offer, read, transition
from kirby_common.ledger.succession import occasion_of
from kirby_common.ledger.successors import follow
from kirby_common.ledger.transitions import STARTED, Status
from kirby_common.topics import DEFAULT_OFFERS_PREFIX


class NotTriggerable(ValueError):
    """The context can't be run now; the text is a sentence for the user."""


class Conflict(RuntimeError):
    """The run is in a status in which that can't be done; nothing was changed."""

    def __init__(self, sentence: str, *, status: str) -> None:
        super().__init__(sentence)
        self.status = status


class NoSuchRun(LookupError):
    """There is no run with this id."""


@dataclass(frozen=True)
class Triggered:
    """`created` is false when the same principal has used the same key before."""

    run_id: UUID
    created: bool


async def trigger(
    tx: Tx,
    *,
    context_id: UUID,
    principal: str,
    key: str,
    args: Sequence[str] | None = None,
    variables: Mapping[str, str] | None = None,
    kind: str = "manual",
    rerun: bool = False,
    parent_run_id: UUID | None = None,
    labels: Mapping[str, str] | None = None,
    within: str | None = None,
    offers_prefix: str = DEFAULT_OFFERS_PREFIX,
) -> Triggered:
    """Inserts a run that starts as soon as a worker has a place. Raises `NotTriggerable`.

    `within`: the occasion of the run that it repeats.
    """
    context = await runnable(tx, context_id)
    unique = ids.manual_key(principal, key)
    run_id = ids.run_id(context_id, kind, unique)
    now = await database_now(tx)
    new = NewRun(
        id=run_id, kind=kind, key=unique, context=context, fire_at=now, args=args, variables=variables or {},
        labels=None if labels is None else {**context.labels, **labels}, rerun=rerun, requested_by=principal,
        parent_run_id=parent_run_id, occasion=None if within is None else f"{within}/{run_id}",
    )  # fmt: skip
    inserted = await insert_runs(tx, [new], offers_prefix=offers_prefix)
    return Triggered(run_id=run_id, created=bool(inserted))


async def runnable(tx: Tx, context_id: UUID) -> ContextView:
    """The context, if a run of it can be asked for. Raises `NotTriggerable`."""
    found = await contexts.load(tx, [context_id])
    if not found:
        raise NotTriggerable("there is no such job in that environment")
    context = found[0]
    where = f"{context.job} in {context.env}"
    if context.type == "daemon":
        raise NotTriggerable(f"{where} is a daemon: it runs by itself while it is enabled")
    if context.script_id is None:
        raise NotTriggerable(f"{where} has no script yet: deploy one first")
    if context.lock_status == "failed":
        raise NotTriggerable(f"{where} can't run: {context.lock_error}")
    return context


async def cancel(
    tx: Tx, run_id: UUID, *, by: str, reason: str | None = None, offers_prefix: str = DEFAULT_OFFERS_PREFIX
) -> str:
    """Takes back a run that has not started. Raises `Conflict`, `NoSuchRun`."""
    run = await _locked(tx, run_id)
    if run.status not in {Status.PENDING, Status.CLAIMED, Status.RETRYING}:
        raise Conflict(_too_late(run), status=run.status)
    why = f"cancelled by {by}" + (f": {reason}" if reason else "")
    now = await database_now(tx)
    if run.status == Status.CLAIMED:
        await attempts.close(tx, run, status="REVOKED", reason=why, at=now)
    ended = await transition(tx, run, Status.CANCELLED, reason=why, ended_at=now, **attempts.NO_HOLDER)
    await follow(tx, [ended], offers_prefix=offers_prefix)
    return str(ended.status)


async def kill(
    tx: Tx, run_id: UUID, *, by: str, reason: str | None = None, offers_prefix: str = DEFAULT_OFFERS_PREFIX
) -> str:
    """Ends a run: one that has started is killed by its worker, another is cancelled. Raises as `cancel`."""
    run = await _locked(tx, run_id)
    if run.status not in STARTED:
        return await cancel(tx, run_id, by=by, reason=reason, offers_prefix=offers_prefix)
    if run.kill_why is None:
        why = f"killed by {by}" + (f": {reason}" if reason else "")
        run = await amend(tx, run, kill_why="user", kill_by=by, reason=why)
        await put_all(tx, [offer(run, daemon=run.kind == "daemon", offers_prefix=offers_prefix)])
    return str(run.status)


async def drain(tx: Tx, run: RunRow, why: str, *, now: datetime, offers_prefix: str) -> None:
    """Ends a run that the suite has begun for its own ends, as a daemon's: one that runs is asked to stop, one that
    waits is cancelled. `run` is locked; nothing happens to one that is over."""
    if run.status in STARTED:
        if run.kill_why is None:
            asked = await amend(tx, run, kill_why=why)
            await put_all(tx, [offer(asked, daemon=True, offers_prefix=offers_prefix)])
    elif run.status in {Status.PENDING, Status.CLAIMED, Status.RETRYING}:
        if run.status == Status.CLAIMED:
            await attempts.close(tx, run, status="REVOKED", reason=why, at=now)
        await transition(tx, run, Status.CANCELLED, reason=why, ended_at=now, **attempts.NO_HOLDER)


async def rerun(
    tx: Tx, run_id: UUID, *, principal: str, key: str, offers_prefix: str = DEFAULT_OFFERS_PREFIX
) -> Triggered:
    """A new run with the inputs of an earlier one, flagged as a re-run. Raises `NotTriggerable`, `NoSuchRun`."""
    run = await read(tx, run_id)
    if run is None:
        raise NoSuchRun(f"there is no run {run_id}")
    if run.kind == "daemon":
        raise NotTriggerable("a daemon's run can't be run again: restart the daemon instead")
    return await trigger(
        tx, context_id=run.context_id, principal=principal, key=ids.rerun_key(run_id, key), args=run.args,
        variables=run.variables, kind="rerun", rerun=True, parent_run_id=run_id, within=occasion_of(run),
        offers_prefix=offers_prefix,
    )  # fmt: skip


async def _locked(tx: Tx, run_id: UUID) -> RunRow:
    run = await read(tx, run_id, lock=True)
    if run is None:
        raise NoSuchRun(f"there is no run {run_id}")
    return run


def _too_late(run: RunRow) -> str:
    if run.status in STARTED:
        return f"run {run.id} is {run.status}: starting, too late to cancel; kill it instead"
    return f"run {run.id} is {run.status} already; nothing was changed"
