"""The arbiter's half in the scheduler: keeps as many generations of each daemon in the ledger as are wanted."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from kirby_common.ledger import contexts, ids, rewinds
from kirby_common.ledger.contexts import ContextView
from kirby_common.ledger.health import PATIENCE, Progress, SlotState
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.outbox import OutboxRelay
from kirby_common.ledger.runs import NewRun, RunRow, insert_runs, read
from kirby_common.ledger.tables import DaemonProgress, DaemonSlot, Worker
from kirby_common.ledger.triggers import drain
from sqlalchemy import Row, Table, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from kirby_scheduler.domain.slots import Facts, Slot, Step, Wanted, next_step
from kirby_scheduler.term import Term

log = structlog.get_logger()
_LONGEST_REST_S = 15.0
_STRAYS = text(
    "SELECT r.id FROM runs r WHERE r.kind = 'daemon' AND r.kill_why IS NULL"
    " AND r.status IN ('PENDING', 'CLAIMED', 'LAUNCHING', 'RUNNING')"
    " AND NOT EXISTS (SELECT 1 FROM daemon_slots d WHERE r.id IN (d.run_id, d.old_run_id))"
)
_SEEN = text(
    "SELECT (SELECT rev FROM rules_gate) AS rules,"
    " (SELECT count(*) FROM workers WHERE NOT gone"
    "  AND last_beat_at > clock_timestamp() - make_interval(secs => :lease)) AS workers,"
    " (SELECT count(*) FROM contexts c JOIN jobs j ON j.id = c.job_id"
    "  WHERE j.type = 'daemon' AND c.state = 'enabled') AS daemons,"
    " (SELECT count(*) FROM runs WHERE kind = 'daemon'"
    "  AND status IN ('PENDING', 'CLAIMED', 'LAUNCHING', 'RUNNING')) AS generations,"
    " (SELECT coalesce(sum(rev), 0) FROM rewinds WHERE mode = 'in-place'"
    "  AND state IN ('draining', 'paused')) AS held,"
    " (SELECT count(*) FROM daemon_slots d JOIN contexts c ON c.id = d.context_id LEFT JOIN runs r ON r.id = d.run_id"
    "  WHERE d.renew OR d.old_run_id IS NOT NULL OR d.state NOT IN ('UP', 'FINISHED', 'DOWN')"
    "  OR (d.state = 'UP' AND (r.status IS DISTINCT FROM 'RUNNING' OR d.script_id IS DISTINCT FROM c.script_id)))"
    " AS unsteady"
)
_slots: Table = DaemonSlot.__table__  # type: ignore[assignment]
_sampled: Table = DaemonProgress.__table__  # type: ignore[assignment]
_workers: Table = Worker.__table__  # type: ignore[assignment]


async def arbiter_loop(
    term: Term, relay: OutboxRelay, *, lease_s: float, offers_prefix: str, changed: asyncio.Event
) -> None:
    """Looks once a second and when `changed` is set, for the whole term; passes over all daemons when need be."""
    loop = asyncio.get_running_loop()
    last, last_pass = None, float("-inf")
    while True:
        changed.clear()
        async with term.engine.connect() as tx:
            seen = tuple((await tx.execute(_SEEN, {"lease": lease_s * PATIENCE})).one())
        unsteady = seen[-1] > 0
        if unsteady or seen != last or loop.time() - last_pass > _LONGEST_REST_S:
            last_pass = loop.time()
            if await arbitrate(term, lease_s=lease_s, offers_prefix=offers_prefix):
                relay.wake()
            last = seen
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await changed.wait()


async def arbitrate(term: Term, *, lease_s: float, offers_prefix: str) -> int:
    """One pass over all daemons; returns how many slots it changed. Raises `Deposed`."""
    async with term.transaction() as tx:
        await tx.execute(text("SELECT rev FROM rules_gate FOR SHARE"))
        daemons = await contexts.load_daemons(tx)
        held = await rewinds.holding(tx)
        now = await database_now(tx)
        changed = 0
        for context in daemons:
            try:
                async with tx.begin_nested():
                    changed += await _one(
                        tx, context, held=context.id in held, lease_s=lease_s, now=now, offers_prefix=offers_prefix
                    )
            except ValueError:
                # One daemon whose configuration can't be read stops no other.
                log.exception("arbiter.context_set_aside", job=context.job, env=context.env)
        changed += await _drain_strays(tx, now=now, offers_prefix=offers_prefix)
    return changed


async def _one(
    tx: AsyncConnection, context: ContextView, *, held: bool, lease_s: float, now: datetime, offers_prefix: str
) -> int:
    """One daemon; its replicas stay down while a rewind holds it."""
    on: Mapping[int, str | None] = await _placement(tx, context, lease_s=lease_s)
    up = context.state in ("enabled", "enabling") and context.rules.paused is None and not held
    mine = select(_slots).where(_slots.c.context_id == context.id).with_for_update()
    known = {r.slot: r for r in (await tx.execute(mine)).all()}
    for number in on:
        if number not in known and up and context.state == "enabled":
            fresh = insert(_slots).values(context_id=context.id, slot=number).on_conflict_do_nothing()
            known[number] = (await tx.execute(fresh.returning(*_slots.c))).one()
    progress = await _progress(tx, context.id)
    slots = {number: _slot(row) for number, row in known.items()}
    changed = 0
    for number, row in sorted(known.items()):
        run, old = await _run(tx, row.run_id), await _run(tx, row.old_run_id)
        wanted = _wanted(context, up=up and number in on)
        facts = Facts(
            status=run and run.status, old_status=old and old.status, old_told=bool(old and old.kill_why),
            progress=progress, siblings=[s for n, s in slots.items() if n != number],
        )  # fmt: skip
        step = next_step(slots[number], facts, wanted, now=now)
        if step is not None:
            runs = {r.id: r for r in (run, old) if r is not None}
            slots[number] = await _take(
                tx, context, row, step, wanted, runs, only_on=on.get(number), now=now, offers_prefix=offers_prefix
            )
            changed += 1
        elif row.wanted != wanted.up:
            await _write(tx, row, wanted=wanted.up)
    return changed


async def _run(tx: AsyncConnection, run_id: UUID | None) -> RunRow | None:
    return None if run_id is None else await read(tx, run_id, lock=True)


async def _progress(tx: AsyncConnection, context_id: UUID) -> Progress | None:
    row = (await tx.execute(select(_sampled).where(_sampled.c.context_id == context_id))).one_or_none()
    return None if row is None else Progress(row.lag, row.moved_at, row.sampled_at)


def _wanted(context: ContextView, *, up: bool) -> Wanted:
    return Wanted(
        up=up, script_id=context.script_id, settings=context.settings_digest, overlap=not context.exclusive_daemon,
        hold=context.state == "enabling", restart=context.policies.restart,
    )  # fmt: skip


def _slot(row: Row[Any]) -> Slot:
    return Slot(**{f.name: getattr(row, f.name) for f in fields(Slot)} | {"state": SlotState(row.state)})


async def _placement(tx: AsyncConnection, context: ContextView, *, lease_s: float) -> dict[int, str | None]:
    """The slots that are wanted: `replicas` of them anywhere, or one bound to each live worker of the pool."""
    if not context.per_worker:
        return dict.fromkeys(range(context.replicas))
    alive = text("last_beat_at > clock_timestamp() - make_interval(secs => :lease)").bindparams(
        lease=lease_s * PATIENCE
    )
    names = select(_workers.c.name).where(_workers.c.pool == context.pool, ~_workers.c.gone, alive)
    live = set((await tx.execute(names)).scalars())
    bound = {
        r.worker: r.slot
        for r in await tx.execute(select(_slots.c.worker, _slots.c.slot).where(_slots.c.context_id == context.id))
        if r.worker is not None
    }
    free = max(bound.values(), default=-1) + 1
    for name in sorted(live - bound.keys()):
        bound[name] = free
        free += 1
    return {bound[name]: name for name in live}


async def _take(
    tx: AsyncConnection, context: ContextView, row: Row[Any], step: Step, wanted: Wanted, runs: Mapping[UUID, RunRow],
    *, only_on: str | None, now: datetime, offers_prefix: str,
) -> Slot:  # fmt: skip
    """Carries out one step of a slot; returns the slot as it is then."""
    slot = step.slot
    for run_id, why in step.drain.items():
        if run_id in runs:
            await drain(tx, runs[run_id], why, now=now, offers_prefix=offers_prefix)
    if step.start:
        generation = row.generation + 1
        run_id = await _start(tx, context, row.slot, generation, only_on, now, offers_prefix)
        slot = replace(
            slot, generation=generation, run_id=run_id, script_id=context.script_id, settings=wanted.settings
        )
    bound = {"worker": only_on} if step.start else {}
    values = {f.name: getattr(slot, f.name) for f in fields(Slot) if f.name != "slot"}
    await _write(tx, row, **values, **bound, wanted=wanted.up)
    return slot


async def _write(tx: AsyncConnection, row: Row[Any], **values: Any) -> None:
    mine = (_slots.c.context_id == row.context_id) & (_slots.c.slot == row.slot)
    await tx.execute(update(_slots).where(mine).values(rev=row.rev + 1, **values))


async def _drain_strays(tx: AsyncConnection, *, now: datetime, offers_prefix: str) -> int:
    """Generations that have a successor, such as those found again on a host that was cut off."""
    ids = list((await tx.execute(_STRAYS)).scalars())
    for run_id in ids:
        run = await read(tx, run_id, lock=True)
        if run is not None and run.kill_why is None:
            await drain(tx, run, "superseded", now=now, offers_prefix=offers_prefix)
    return len(ids)


async def _start(
    tx: AsyncConnection, context: ContextView, slot: int, generation: int, only_on: str | None, now: datetime,
    offers_prefix: str,
) -> UUID:  # fmt: skip
    key = ids.daemon_key(slot, generation)
    new = NewRun(
        id=ids.run_id(context.id, "daemon", key), kind="daemon", key=key, context=context, fire_at=now,
        slot=slot, generation=generation, only_on=only_on,
    )  # fmt: skip
    await insert_runs(tx, [new], offers_prefix=offers_prefix)
    return new.id
