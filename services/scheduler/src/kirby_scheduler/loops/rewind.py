"""Rewinds in place: once a daemon's replicas are down, the leader moves its group, and then looks how far it is.

Those in shadow are looked after along with them, see `shadow`.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from kirby_common import failpoints
from kirby_common.group_members import static_names, strangers
from kirby_common.ledger import rewind_parts, rewinds
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.outbox import OutboxRelay
from kirby_common.ledger.rewinds import RewindRow
from kirby_common.ports import BusUnavailable, Commit, GroupInUse, GroupLook, Groups, Place
from kirby_common.topics import DEFAULT_OFFERS_PREFIX

from kirby_scheduler.domain.rewinding import moved, put_back, stood
from kirby_scheduler.loops.rewind_rows import left_of, write
from kirby_scheduler.loops.shadow import look_after_shadow
from kirby_scheduler.term import Term

log = structlog.get_logger()
GroupsOf = Callable[[str | None], Groups]
"""The groups of the cluster with these bootstrap servers; None is the suite's own."""

PATIENCE = timedelta(seconds=60)
"""So long the members that the SDK did not name may take to leave: a session of theirs lasts 45 s."""


async def rewind_loop(term: Term, relay: OutboxRelay, groups_of: GroupsOf, *, offers_prefix: str) -> None:
    """Looks once a second for the whole term."""
    while True:
        if await look_after(term, groups_of, offers_prefix=offers_prefix):
            relay.wake()
        await asyncio.sleep(1)


async def look_after(term: Term, groups_of: GroupsOf, *, offers_prefix: str = DEFAULT_OFFERS_PREFIX) -> int:
    """One pass over the rewinds that go on; returns how many it changed. Raises `Deposed`."""
    async with term.transaction() as tx:
        changed = await rewinds.give_up_orphans(tx)
        going_on = await rewinds.going_on(tx)
    for row in going_on:
        groups = groups_of(row.kafka_bootstrap_servers)
        try:
            if row.mode == "shadow":
                changed += await look_after_shadow(term, row, groups, offers_prefix=offers_prefix)
                continue
            step = _moved(term, row, groups) if row.state == "draining" else _followed(term, row, groups)
            changed += await step
        except BusUnavailable as error:
            # Nothing is concluded; it is looked at again.
            log.warning("rewind.waiting", rewind=str(row.id), reason=str(error))
    return changed


async def _moved(term: Term, row: RewindRow, groups: Groups) -> bool:
    """The next state of one whose replicas are being drained, once they are down and the group is empty."""
    async with term.transaction() as tx:
        if not await rewinds.drained(tx, row.context_id):
            return False
        if row.drained_at is None:
            row = await rewinds.amend(tx, row, drained_at=await database_now(tx))
    if row.wanted == "pause":
        return await write(term, row, state="paused")
    look = (await groups.look([row.group_name]))[row.group_name]
    await groups.remove(row.group_name, static_names(look.members, row.group_name))
    commits, values = _following(row, look)
    try:
        if commits:
            await groups.commit(row.group_name, commits)
    except GroupInUse:
        return await _in_use(term, row, look)
    await failpoints.hit("rewind.after_commit")
    return await write(term, row, **values)


def _following(row: RewindRow, look: GroupLook) -> tuple[dict[Place, Commit], dict[str, Any]]:
    """What to commit, and what the row says afterwards. A leader may do it again after one that died in between."""
    parts = rewind_parts.from_rows(row.parts)
    if row.wanted == "cancel":
        # Another leader may have moved it, and died before it was written down: then the marks tell from where.
        moved_by_us = {place: c for place, c in look.commits.items() if c.metadata.startswith(f"rewind:{row.id}:")}
        back = put_back(parts, look.commits) if row.placed else stood(moved_by_us)
        return back, {"state": "cancelled"}
    if row.placed:
        positions = rewind_parts.reached(parts, look.commits)
        return moved(str(row.id), parts, positions, rate=row.rate), {"state": "running", "positions": positions}
    parts = rewind_parts.settled(parts, stood(look.commits))
    positions = {part.key: part.start for part in parts}
    total = sum(part.size for part in parts)
    values = {"parts": rewind_parts.as_rows(parts), "positions": positions, "total": total, "placed": True}
    if not parts:
        return {}, values | {"state": "done", "reason": "nothing of the range had been processed"}
    return moved(str(row.id), parts, positions, rate=row.rate), values | {"state": "running"}


async def _in_use(term: Term, row: RewindRow, look: GroupLook) -> bool:
    """Somebody is in the group whom Kirby did not start, or not any more."""
    others = strangers(look.members, row.group_name)
    if not others:
        return False
    who = ", ".join(sorted({f"{member.client} at {member.host}" for member in others}))
    async with term.transaction() as tx:
        waits = await database_now(tx) - row.drained_at < PATIENCE
    if waits:
        return False
    reason = f"the group {row.group_name} has a member that Kirby did not start ({who}): stop it, and rewind again"
    return await write(term, row, state="failed", reason=reason)


async def _followed(term: Term, row: RewindRow, groups: Groups) -> bool:
    """How far it is; done when every part is at its end."""
    positions, left = await left_of(row, row.group_name, groups)
    if left and positions == row.positions:
        return False
    return await write(term, row, state="running" if left else "done", positions=positions)
