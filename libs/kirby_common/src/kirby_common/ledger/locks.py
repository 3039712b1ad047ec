"""Locks: each version is resolved once, by a worker, to exact versions with hashes; until then contexts wait."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Table, exists, select, text, update
from sqlalchemy.dialects.postgresql import insert

from kirby_common.ledger import contexts
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.rules import rejudge
from kirby_common.ledger.tables import Lock

locks: Table = Lock.__table__  # type: ignore[assignment]
LockRow = Row[Any]

_GATE = text("SELECT rev FROM rules_gate FOR UPDATE")
CLAIM_LEASE = timedelta(minutes=10)
_FIRST_WAIT_S = 2.0
_LONGEST_WAIT_S = 300.0


async def want(tx: Tx, package_name: str, package_version: str) -> LockRow:
    """The lock of a version, made a work item when there is none; one that failed is tried anew."""
    fresh = insert(locks).values(package_name=package_name, package_version=package_version)
    retry = fresh.on_conflict_do_update(
        index_elements=["package_name", "package_version"],
        set_={"status": "wanted", "error": None, "tries": 0, "not_before": text("clock_timestamp()")},
        where=locks.c.status == "failed",
    )
    await tx.execute(retry)
    by_version = select(locks).where(locks.c.package_name == package_name, locks.c.package_version == package_version)
    return (await tx.execute(by_version)).one()


async def enable(tx: Tx, context_id: UUID) -> str:
    """Asks for a context to be enabled: at once when its lock is ready, else by itself once it is.

    Its due times count from the moment it becomes enabled. Returns the state. Raises ValueError when it has
    no script.
    """
    (context,) = await contexts.load(tx, [context_id])
    if context.package_name is None or context.package_version is None:
        raise ValueError(f"{context.job} in {context.env} has no script yet: deploy one first")
    lock = await want(tx, context.package_name, context.package_version)
    if lock.status == "ready":
        if context.state != "enabled":
            await _become_enabled(tx, context_id)
        return "enabled"
    await _wait(tx, context_id, lock.error or "being resolved")
    return "enabling"


_CLAIMABLE = ((locks.c.status == "wanted") & (locks.c.not_before <= text("clock_timestamp()"))) | (
    (locks.c.status == "claimed") & (locks.c.claimed_until < text("clock_timestamp()"))
)


async def wait(tx: Tx) -> bool:
    """Whether there is a version for some worker to resolve."""
    return bool(await tx.scalar(select(exists().where(_CLAIMABLE))))


async def claim(tx: Tx, *, worker: str) -> LockRow | None:
    """A version for the worker to resolve within `CLAIM_LEASE`, or None."""
    pick = select(locks).where(_CLAIMABLE).order_by(locks.c.not_before).limit(1).with_for_update(skip_locked=True)
    row = (await tx.execute(pick)).one_or_none()
    if row is None:
        return None
    now = await database_now(tx)
    take = update(locks).where(locks.c.id == row.id)
    values = {"status": "claimed", "claimed_by": worker, "claimed_until": now + CLAIM_LEASE, "tries": row.tries + 1}
    return (await tx.execute(take.values(**values).returning(*locks.c))).one()


async def release(tx: Tx, *, worker: str) -> None:
    """Gives back what a former process of the worker was resolving when it ended."""
    held = (locks.c.status == "claimed") & (locks.c.claimed_by == worker)
    await tx.execute(update(locks).where(held).values(status="wanted", claimed_until=None))


async def resolved(
    tx: Tx, lock_id: UUID, *, lock_text: str | None, requires_python: str | None, error: str | None, transient: bool
) -> None:
    """Writes down what a worker found, and enables the contexts that waited for it."""
    # The gate before the lock, in the order in which a change of rules takes them.
    await tx.execute(_GATE)
    lock = (await tx.execute(select(locks).where(locks.c.id == lock_id).with_for_update())).one_or_none()
    if lock is None or lock.status == "ready":
        return
    now = await database_now(tx)
    write = update(locks).where(locks.c.id == lock_id)
    if lock_text is not None:
        await tx.execute(
            write.values(
                status="ready", lock_text=lock_text, requires_python=requires_python, error=None, resolved_at=now
            )
        )
        for context_id in await _waiting(tx, lock):
            await _become_enabled(tx, context_id)
        return
    if transient:
        wait = timedelta(seconds=min(_FIRST_WAIT_S * 2.0 ** min(lock.tries, 20), _LONGEST_WAIT_S))
        await tx.execute(write.values(status="wanted", error=error, not_before=now + wait, claimed_until=None))
    else:
        await tx.execute(write.values(status="failed", error=error, resolved_at=now))
    for context_id in await _waiting(tx, lock):
        await _wait(tx, context_id, error or "unknown")


async def _waiting(tx: Tx, lock: LockRow) -> list[UUID]:
    found = await tx.execute(
        text(
            "SELECT c.id FROM contexts c JOIN scripts s ON s.id = c.script_id WHERE c.state = 'enabling'"
            " AND s.package_name = :name AND s.package_version = :version ORDER BY c.id"
        ),
        {"name": lock.package_name, "version": lock.package_version},
    )
    return list(found.scalars())


async def _become_enabled(tx: Tx, context_id: UUID) -> None:
    """Due times count from now; those that a former disabling has skipped already are judged anew."""
    await tx.execute(_GATE)
    now = await database_now(tx)
    await tx.execute(
        text(
            "UPDATE contexts SET state = 'enabled', state_reason = NULL, horizon = :now, next_due_at = NULL,"
            " held = false, set_aside = NULL, rev = rev + 1 WHERE id = :id"
        ),
        {"now": now, "id": context_id},
    )
    (context,) = await contexts.load(tx, [context_id])
    await rejudge(tx, context, author="kirby", now=now)


async def _wait(tx: Tx, context_id: UUID, reason: str) -> None:
    await tx.execute(
        text(
            "UPDATE contexts SET state = 'enabling', state_reason = :reason, rev = rev + 1 WHERE id = :id"
            " AND (state, state_reason) IS DISTINCT FROM ('enabling', :reason)"
        ),
        {"id": context_id, "reason": f"no lock yet: {reason}"},
    )
