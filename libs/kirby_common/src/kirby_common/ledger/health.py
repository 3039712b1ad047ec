"""How a daemon is: one pure judgement over what the ledger knows, for the leader's alerts, REST and the command."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from kirby_common.ledger.policies import Policies
from kirby_common.ledger.transitions import Status

PATIENCE = 1.25
"""Leases without a beat after which a worker counts as silent."""


class SlotState(StrEnum):
    WANTED = "WANTED"
    STARTING = "STARTING"
    UP = "UP"
    BACKOFF = "BACKOFF"
    CRASH_LOOPING = "CRASH_LOOPING"
    DRAINING = "DRAINING"
    FINISHED = "FINISHED"
    DOWN = "DOWN"


class Health(StrEnum):
    HEALTHY = "healthy"
    STARTING = "starting"
    STALLED = "stalled"
    DOWN = "down"
    CRASH_LOOPING = "crash_looping"
    OFF = "off"


_WORST_FIRST = (Health.CRASH_LOOPING, Health.DOWN, Health.STALLED, Health.STARTING, Health.HEALTHY, Health.OFF)


@dataclass(frozen=True)
class SlotFacts:
    """One replica. `run_status` is its generation's; `old_status` that of the one before, while both are there."""

    slot: int
    state: SlotState
    wanted: bool = True
    run_status: str | None = None
    old_status: str | None = None
    crashes: int = 0
    reason: str | None = None
    not_before: datetime | None = None
    up_since: datetime | None = None
    worker: str | None = None
    beat_at: datetime | None = None


@dataclass(frozen=True)
class Progress:
    """How far the daemon's group has read: messages that wait, and when an offset last moved or nothing waited."""

    lag: int
    moved_at: datetime
    sampled_at: datetime


@dataclass(frozen=True)
class DaemonFacts:
    """`off` says why nothing of it is to run, if so."""

    replicas: int
    slots: Sequence[SlotFacts]
    policies: Policies = field(default_factory=Policies)
    progress: Progress | None = None
    off: str | None = None


@dataclass(frozen=True)
class Verdict:
    health: Health
    reason: str


@dataclass(frozen=True)
class DaemonVerdict:
    """`live` of `wanted` replicas have a process that is heard of."""

    health: Health
    reason: str
    live: int
    wanted: int
    slots: dict[int, Verdict]


def judge(facts: DaemonFacts, *, lease: timedelta, now: datetime) -> DaemonVerdict:
    """The daemon's health is that of its worst replica, with the reason."""
    slots = {s.slot: _slot(s, facts, lease=lease, now=now) for s in facts.slots}
    kept = [s for s in facts.slots if s.wanted and s.state is not SlotState.FINISHED]
    live = sum(alive(s, lease=lease, now=now) for s in facts.slots)
    if facts.off is not None:
        return DaemonVerdict(Health.OFF, facts.off, live, 0, slots)
    finished = sum(s.wanted and s.state is SlotState.FINISHED for s in facts.slots)
    wanted = max(facts.replicas - finished, 0)
    found = [slots[s.slot] for s in kept]
    if len(kept) < wanted:
        found.append(Verdict(Health.DOWN, f"{len(kept)} of {wanted} replicas have been begun"))
    if not found:
        found = [v for s, v in slots.items()] or [Verdict(Health.OFF, "no replica is wanted")]
    worst = min(found, key=lambda v: _WORST_FIRST.index(v.health))
    return DaemonVerdict(worst.health, worst.reason, live, wanted, slots)


def alive(slot: SlotFacts, *, lease: timedelta, now: datetime) -> bool:
    """Whether a process of the replica runs, of this generation or the one before, as far as is known."""
    if slot.old_status == Status.RUNNING:
        return True
    return slot.run_status == Status.RUNNING and not _silent(slot, lease=lease, now=now)


def stalled(progress: Progress | None, slots: Sequence[SlotFacts], limit: timedelta | None, *, now: datetime) -> bool:
    """Messages wait, some replica has been up for longer than the limit, and no offset has moved for as long."""
    if progress is None or limit is None or progress.lag <= 0 or progress.sampled_at - progress.moved_at < limit:
        return False
    return any(s.up_since is not None and s.state is SlotState.UP and now - s.up_since >= limit for s in slots)


def _silent(slot: SlotFacts, *, lease: timedelta, now: datetime) -> bool:
    return slot.beat_at is not None and now - slot.beat_at > lease * PATIENCE


def _slot(slot: SlotFacts, facts: DaemonFacts, *, lease: timedelta, now: datetime) -> Verdict:
    why = f": {slot.reason}" if slot.reason else ""
    still = "; the version before still runs" if slot.old_status == Status.RUNNING else ""
    looping = slot.crashes >= facts.policies.restart.crash_loop_after
    match slot.state:
        case SlotState.FINISHED:
            return Verdict(Health.OFF, f"ended and stays so (restart={facts.policies.restart.when}){why}")
        case SlotState.DOWN:
            return Verdict(Health.OFF, "not wanted")
        case SlotState.DRAINING:
            return Verdict(Health.STARTING if slot.wanted else Health.OFF, "the version before drains first")
        case SlotState.WANTED:
            return Verdict(Health.STARTING, "about to be started")
        case SlotState.CRASH_LOOPING:
            return Verdict(Health.CRASH_LOOPING, _crashes(slot) + why + _again(slot) + still)
        case SlotState.STARTING | SlotState.UP if looping:
            return Verdict(Health.CRASH_LOOPING, f"{_crashes(slot)}; another try is on its way{still}")
        case SlotState.BACKOFF:
            health = Health.STARTING if still else Health.DOWN
            return Verdict(health, f"ended{why}{_again(slot)}{still}")
        case SlotState.STARTING:
            return Verdict(Health.STARTING, _starting(slot) + still)
        case SlotState.UP:
            return _up(slot, facts, lease=lease, now=now)


def _up(slot: SlotFacts, facts: DaemonFacts, *, lease: timedelta, now: datetime) -> Verdict:
    if slot.run_status != Status.RUNNING:
        return Verdict(Health.DOWN, f"ended{': ' + slot.reason if slot.reason else ''}")
    if _silent(slot, lease=lease, now=now):
        return Verdict(Health.DOWN, f"worker {slot.worker} is silent since {_time(slot.beat_at)}")
    if facts.progress is not None and stalled(facts.progress, facts.slots, facts.policies.stalled_after, now=now):
        since = _time(facts.progress.moved_at)
        return Verdict(Health.STALLED, f"messages wait and no offset has moved since {since}")
    return Verdict(Health.HEALTHY, f"up since {_time(slot.up_since)}")


def _starting(slot: SlotFacts) -> str:
    match slot.run_status:
        case Status.PENDING:
            return "waits for a worker with a free place"
        case Status.CLAIMED:
            return "is being prepared by a worker"
        case _:
            return "starts"


def _crashes(slot: SlotFacts) -> str:
    return f"{slot.crashes} quick exits in a row"


def _again(slot: SlotFacts) -> str:
    return f"; tried again at {_time(slot.not_before)}" if slot.not_before else ""


def _time(at: datetime | None) -> str:
    return "?" if at is None else at.strftime("%Y-%m-%d %H:%M:%S UTC")
