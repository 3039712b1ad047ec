"""Attempts: the grants of a run to workers."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, select, update

from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.runs import RunRow
from kirby_common.ledger.tables import Attempt

attempts: Table = Attempt.__table__  # type: ignore[assignment]

NO_HOLDER: dict[str, Any] = {"worker": None, "incarnation": None, "claim_id": None}
"""The fields of a run that no worker holds."""


async def lock(tx: Tx, which: ColumnElement[bool]) -> None:
    """Locks these attempts, in the order in which everybody does."""
    mine = select(attempts.c.run_id).where(which)
    await tx.execute(mine.order_by(attempts.c.run_id, attempts.c.grant_no).with_for_update())


async def close(tx: Tx, run: RunRow, *, status: str, reason: str | None, at: datetime, **changes: Any) -> None:
    """Ends the run's current grant: nothing more is expected of it."""
    await tx.execute(
        update(attempts)
        .where(attempts.c.run_id == run.id, attempts.c.grant_no == run.grant_no)
        .values(status=status, reason=reason, ended_at=at, open=False, **changes)
    )
