"""How far a rewind is, and writing that down."""

from typing import Any

import structlog
from kirby_common.ledger import rewind_parts, rewinds, shadows
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.rewinds import RewindRow
from kirby_common.ledger.shadows import Step
from kirby_common.ports import Groups, Place

from kirby_scheduler.term import Term

log = structlog.get_logger()
_ENDED = ("done", "promoted", "dropped", "cancelled", "failed")


async def left_of(
    row: RewindRow, group: str, groups: Groups
) -> tuple[dict[str, int], dict[Place, tuple[int, int]]]:  # fmt: skip
    """Its positions, and of the parts that are not at their end where they are and where that is."""
    look = (await groups.look([group]))[group]
    parts = rewind_parts.from_rows(row.parts)
    positions = rewind_parts.reached(parts, look.commits)
    left = rewind_parts.open_stretches(parts, positions)
    if left and all(to - here <= 2 for here, to in left.values()):
        empty = await groups.passed(left)
        positions |= {f"{topic}:{number}": to for (topic, number), (_, to) in left.items() if (topic, number) in empty}
        left = {place: stretch for place, stretch in left.items() if place not in empty}
    return positions, left


async def write(
    term: Term, row: RewindRow, *, step: Step | None = None, offers_prefix: str = "", **values: Any
) -> bool:  # fmt: skip
    """Unless something was ordered meanwhile: then the next look does it. `step`: a run to begin along with it."""
    async with term.transaction() as tx:
        now = await database_now(tx)
        current = await rewinds.read(tx, row.id, lock=True)
        if current is None or current.rev != row.rev:
            return False
        parts = rewind_parts.from_rows(values.get("parts", row.parts))
        if "positions" in values:
            values["done"] = rewind_parts.done(parts, values["positions"])
        if values.get("state") == "running" and row.started_at is None:
            values["started_at"] = now
        if values.get("state") in _ENDED:
            values["ended_at"] = now
        if step is None:
            await rewinds.amend(tx, current, **values)
        elif await shadows.begin(tx, current, step, offers_prefix=offers_prefix, **values) is None:
            return False
    log.info("rewind", id=str(row.id), job=row.job, env=row.env, state=values.get("state", row.state))
    return True
