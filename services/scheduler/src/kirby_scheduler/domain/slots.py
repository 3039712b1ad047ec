"""What a daemon's slot does next: pure, `(slot, its runs, what is wanted, now) -> step`.

A new version of a daemon whose replicas may overlap comes up beside the old one, which drains once the new one is
up and progressing. An exclusive daemon's old version drains first: two of it must never be alive.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from kirby_common.ledger.health import Progress, SlotState
from kirby_common.ledger.policies import Restart
from kirby_common.ledger.transitions import ENDED, Status

PROOF_PATIENCE = timedelta(seconds=30)
"""A new version that is up for so long takes over even if no offset moves: the old one may be what holds it up."""


@dataclass(frozen=True)
class Slot:
    """`script_id` and `settings` are those that the newest generation was started with."""

    slot: int
    state: SlotState = SlotState.WANTED
    generation: int = 0
    crashes: int = 0
    restarts: int = 0
    run_id: UUID | None = None
    script_id: UUID | None = None
    settings: str | None = None
    old_run_id: UUID | None = None
    not_before: datetime | None = None
    up_since: datetime | None = None
    renew: bool = False


@dataclass(frozen=True)
class Wanted:
    """What the context asks for: whether the slot should be up, with which version, and whether two may overlap.

    `hold`: the version has no lock yet, so that nothing can be started; what runs goes on.
    """

    up: bool
    script_id: UUID | None
    settings: str | None = None
    overlap: bool = False
    hold: bool = False
    restart: Restart = field(default_factory=Restart)


@dataclass(frozen=True)
class Facts:
    """What became of the slot's runs. `old_told` is whether the generation before was asked to drain already."""

    status: str | None = None
    old_status: str | None = None
    old_told: bool = False
    progress: Progress | None = None
    siblings: Sequence[Slot] = ()


@dataclass(frozen=True)
class Step:
    """The slot's next form; `start` begins a generation, `drain` says which runs are to end, and why."""

    slot: Slot
    start: bool = False
    drain: dict[UUID, str] = field(default_factory=dict)


def next_step(slot: Slot, facts: Facts, wanted: Wanted, *, now: datetime) -> Step | None:
    """What to do, or None when all is as it should be."""
    if slot.old_run_id is not None and _ended(facts.old_status):
        slot = replace(slot, old_run_id=None)
        return next_step(slot, replace(facts, old_status=None), wanted, now=now) or Step(slot)
    if not wanted.up:
        return _put_down(slot, facts)
    if wanted.hold:
        return None
    match slot.state:
        case SlotState.WANTED | SlotState.DOWN:
            return _start(slot)
        case SlotState.DRAINING:
            return _start(slot) if _ended(facts.status) and slot.old_run_id is None else None
        case SlotState.FINISHED:
            return _start(replace(slot, crashes=0)) if _changed(slot, wanted) else None
        case SlotState.BACKOFF | SlotState.CRASH_LOOPING:
            if _changed(slot, wanted):
                return _start(replace(slot, crashes=0))
            return _start(slot) if slot.not_before is None or slot.not_before <= now else None
        case SlotState.STARTING | SlotState.UP:
            if _ended(facts.status):
                return _after_end(slot, facts.status, wanted.restart, now)
            if slot.state is SlotState.STARTING and facts.status == Status.RUNNING:
                return Step(replace(slot, state=SlotState.UP, up_since=now))
            if slot.renew or slot.script_id != wanted.script_id:
                return _change(slot, facts, wanted)
            return _alive(slot, facts, wanted, now)


def _ended(status: str | None) -> bool:
    return status is None or status in ENDED


def _changed(slot: Slot, wanted: Wanted) -> bool:
    """Whether a slot at rest is to be tried again: what it runs, or how, has changed, or somebody asks for it."""
    return slot.renew or (slot.script_id, slot.settings) != (wanted.script_id, wanted.settings)


def _start(slot: Slot) -> Step:
    return Step(replace(slot, state=SlotState.STARTING, not_before=None, up_since=None, renew=False), start=True)


def _put_down(slot: Slot, facts: Facts) -> Step | None:
    alive = [] if _ended(facts.status) or slot.run_id is None else [slot.run_id]
    alive += [] if slot.old_run_id is None else [slot.old_run_id]
    if alive:
        if slot.state is SlotState.DRAINING:
            return None
        return Step(replace(slot, state=SlotState.DRAINING), drain=dict.fromkeys(alive, "drained"))
    if slot.state is SlotState.DOWN:
        return None
    return Step(replace(slot, state=SlotState.DOWN, crashes=0, not_before=None, up_since=None, renew=False))


def _change(slot: Slot, facts: Facts, wanted: Wanted) -> Step | None:
    """One slot of a daemon at a time changes its version, so that a bad one takes down one replica at most."""
    assert slot.run_id is not None
    if slot.state is SlotState.STARTING and slot.script_id == wanted.script_id:
        return Step(replace(slot, renew=False))
    if facts.old_told or any(_is_changing(other, wanted) for other in facts.siblings):
        return None
    fresh = replace(slot, crashes=0)
    if not wanted.overlap:
        return Step(replace(fresh, state=SlotState.DRAINING, renew=False), drain={slot.run_id: "superseded"})
    if slot.state is SlotState.UP and slot.old_run_id is None:
        return _start(replace(fresh, old_run_id=slot.run_id))
    # The generation that never came up makes room; the one that serves meanwhile, if any, goes on.
    return replace(_start(fresh), drain={slot.run_id: "superseded"})


def _is_changing(other: Slot, wanted: Wanted) -> bool:
    if other.state is SlotState.DRAINING or other.old_run_id is not None:
        return True
    on_its_way = other.state in (SlotState.STARTING, SlotState.BACKOFF, SlotState.CRASH_LOOPING)
    return on_its_way and not other.renew and other.script_id == wanted.script_id


def _alive(slot: Slot, facts: Facts, wanted: Wanted, now: datetime) -> Step | None:
    if slot.state is SlotState.STARTING:
        return None
    if slot.old_run_id is not None and not facts.old_told and _proven(slot, facts.progress, wanted.restart, now):
        return Step(slot, drain={slot.old_run_id: "superseded"})
    if slot.crashes and _steady(slot, wanted.restart, now):
        return Step(replace(slot, crashes=0))
    return None


def _proven(slot: Slot, progress: Progress | None, restart: Restart, now: datetime) -> bool:
    """Whether a new version has shown that it can take over: up for a while, and its group reads or has nothing to."""
    assert slot.up_since is not None
    up_for = now - slot.up_since
    if up_for < restart.settle:
        return False
    return progress is None or progress.lag <= 0 or progress.moved_at > slot.up_since or up_for >= PROOF_PATIENCE


def _after_end(slot: Slot, status: str | None, restart: Restart, now: datetime) -> Step:
    ended = replace(slot, up_since=None, restarts=slot.restarts + 1)
    stays = restart.when == "never" or (restart.when == "on_failure" and status == Status.SUCCEEDED)
    if stays and not slot.renew:
        return Step(replace(slot, state=SlotState.FINISHED, up_since=None))
    if status in (Status.LOST, Status.KILLED, Status.CANCELLED):
        # Its host is away or somebody ended it: the script did nothing wrong, the next one starts at once.
        return _start(ended)
    crashes = 1 if _steady(slot, restart, now) else slot.crashes + 1
    if crashes >= restart.crash_loop_after:
        until = now + restart.crash_loop_delay
        return Step(replace(ended, state=SlotState.CRASH_LOOPING, crashes=crashes, not_before=until))
    until = now + backoff(crashes, restart)
    return Step(replace(ended, state=SlotState.BACKOFF, crashes=crashes, not_before=until))


def backoff(crashes: int, restart: Restart) -> timedelta:
    """How long to wait before the next generation after that many quick exits in a row."""
    seconds = restart.delay.total_seconds() * 2.0 ** min(crashes - 1, 30)
    return min(timedelta(seconds=seconds), restart.cap)


def _steady(slot: Slot, restart: Restart, now: datetime) -> bool:
    return slot.up_since is not None and now - slot.up_since >= restart.steady
