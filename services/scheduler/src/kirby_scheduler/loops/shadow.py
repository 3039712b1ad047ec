"""Rewinds in shadow: the leader places a group of their own, starts their runs, and deletes what they wrote."""

from typing import Any

from kirby_common import failpoints
from kirby_common.ledger import rewind_parts, shadows
from kirby_common.ledger.rewinds import RewindRow
from kirby_common.ledger.runs import RunRow, read
from kirby_common.ports import GroupInUse, Groups

from kirby_scheduler.domain import shadowing
from kirby_scheduler.domain.rewinding import moved
from kirby_scheduler.loops.rewind_rows import left_of, write
from kirby_scheduler.term import Term


async def look_after_shadow(term: Term, row: RewindRow, groups: Groups, *, offers_prefix: str) -> bool:
    """One pass over one of them; whether it changed. Raises `Deposed`, `BusUnavailable`."""
    async with term.transaction() as tx:
        run = None if row.run_id is None else await read(tx, row.run_id)
    try:
        match row.state:
            case "draining":
                return await _drained(term, row, groups, offers_prefix)
            case "running":
                return await _followed(term, row, run, groups, offers_prefix)
            case "comparing" | "promoting":
                return await _ordered(term, row, run, groups, offers_prefix)
            case _:
                return await _dropped(term, row, groups, offers_prefix, into="dropped")
    except GroupInUse:
        # Who was killed is a member for as long as its session lasts.
        return False


async def _drained(term: Term, row: RewindRow, groups: Groups, offers_prefix: str) -> bool:
    """What is wanted of it, once its run is over."""
    if row.wanted == "cancel":
        return await _dropped(term, row, groups, offers_prefix, into="cancelled")
    async with term.transaction() as tx:
        if not await shadows.end(tx, row, offers_prefix=offers_prefix):
            return False
    if row.wanted == "pause":
        return await write(term, row, state="paused")
    return await _started(term, row, groups, offers_prefix)


async def _started(term: Term, row: RewindRow, groups: Groups, offers_prefix: str) -> bool:
    """Place its group, and start its run: done twice, the group is where it was, and there is one run."""
    mine = shadowing.group(row)
    looks = await groups.look([row.group_name, mine])
    parts = rewind_parts.from_rows(row.parts)
    if row.placed:
        positions = rewind_parts.reached(parts, looks[mine].commits)
    else:
        parts = [
            rewind_parts.ending(part) for part in rewind_parts.settled(parts, looks[row.group_name].commits)
        ]  # fmt: skip
        positions = {part.key: part.start for part in parts}
    if not parts:
        return await write(term, row, state="failed", reason="nothing of the range had been processed")
    commits = moved(str(row.id), parts, positions, rate=row.rate)
    if commits:
        await groups.commit(mine, commits)
    await failpoints.hit("rewind.after_commit")
    values: dict[str, Any] = {
        "parts": rewind_parts.as_rows(parts), "positions": positions, "placed": True, "state": "running",
        "total": sum(part.size for part in parts),
    }  # fmt: skip
    return await write(term, row, step=shadowing.script(row), offers_prefix=offers_prefix, **values)


async def _followed(
    term: Term, row: RewindRow, run: RunRow | None, groups: Groups, offers_prefix: str
) -> bool:  # fmt: skip
    """How far it is; at the end its run is ended, and what it made compared."""
    positions, left = await left_of(row, shadowing.group(row), groups)
    if left and shadowing.is_over(run):
        how = "its run was removed" if run is None else shadowing.told(run)
        return await write(term, row, state="failed", reason=f"it ended too early: {how}", positions=positions)
    if left:
        return positions != row.positions and await write(term, row, state="running", positions=positions)
    async with term.transaction() as tx:
        over = await shadows.end(tx, row, offers_prefix=offers_prefix)
    if not over:
        return positions != row.positions and await write(term, row, state="running", positions=positions)
    return await write(term, row, state="comparing", run_id=None, positions=positions)


async def _ordered(
    term: Term, row: RewindRow, run: RunRow | None, groups: Groups, offers_prefix: str
) -> bool:  # fmt: skip
    """The run that compares or promotes: start it, or see how it ended."""
    if row.run_id is None:
        step = shadowing.order(row, "compare" if row.state == "comparing" else "promote")
        return await write(term, row, step=step, offers_prefix=offers_prefix)
    if not shadowing.is_over(run):
        return False
    if run is None:
        return await write(term, row, state="ready", reason="its run was removed")
    after = shadowing.after_order(row, run)
    if after["state"] == "promoted":
        await groups.forget(shadowing.group(row), shadowing.is_ours(row))
    return await write(term, row, **after)


async def _dropped(term: Term, row: RewindRow, groups: Groups, offers_prefix: str, *, into: str) -> bool:
    """Delete what it wrote, once nobody writes there any more."""
    async with term.transaction() as tx:
        if not await shadows.end(tx, row, offers_prefix=offers_prefix):
            return False
    await groups.forget(shadowing.group(row), shadowing.is_ours(row))
    return await write(term, row, state=into)
