"""What a daemon's slot does next: ends, crash loops, restart policies, changes of version."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kirby_common.ledger.health import Progress, SlotState
from kirby_common.ledger.policies import Restart
from kirby_scheduler.domain.slots import PROOF_PATIENCE, Facts, Slot, Step, Wanted, next_step

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
V1, V2 = uuid4(), uuid4()
RUN, OLD = uuid4(), uuid4()
UP = Slot(0, SlotState.UP, generation=1, run_id=RUN, script_id=V1, settings="a", up_since=NOON)
WANT = Wanted(up=True, script_id=V1, settings="a")
RUNNING = Facts("RUNNING")


def step(slot: Slot, facts: Facts = RUNNING, wanted: Wanted = WANT, *, at: timedelta = timedelta(0)) -> Step:
    made = next_step(slot, facts, wanted, now=NOON + at)
    assert made is not None
    return made


def test_a_healthy_slot_is_left_alone() -> None:
    assert next_step(UP, RUNNING, WANT, now=NOON + SECOND) is None


@pytest.mark.parametrize("status", ["FAILED", "SUCCEEDED"])
def test_an_end_is_followed_by_a_growing_wait(status: str) -> None:
    slot, waits = UP, []
    for _ in range(4):
        made = step(slot, Facts(status))
        assert made.slot.state is SlotState.BACKOFF
        assert made.slot.not_before is not None
        waits.append((made.slot.not_before - NOON).total_seconds())
        slot = replace(made.slot, state=SlotState.UP, up_since=NOON)
    assert waits == [1, 2, 4, 8]


def test_many_quick_exits_are_a_crash_loop_that_tries_again_later() -> None:
    made = step(replace(UP, crashes=4), Facts("FAILED"))
    assert (made.slot.state, made.slot.crashes, made.slot.restarts) == (SlotState.CRASH_LOOPING, 5, 1)
    assert made.slot.not_before == NOON + timedelta(minutes=5)
    assert next_step(made.slot, Facts("FAILED"), WANT, now=NOON + timedelta(minutes=4)) is None
    again = step(made.slot, Facts("FAILED"), at=timedelta(minutes=5))
    assert again.start
    assert step(replace(again.slot, state=SlotState.UP), Facts("FAILED")).slot.state is SlotState.CRASH_LOOPING


@pytest.mark.parametrize(
    "change", [replace(WANT, script_id=V2), replace(WANT, settings="b")], ids=["version", "settings"]
)
def test_a_crash_loop_resumes_after_a_change(change: Wanted) -> None:
    looping = replace(UP, state=SlotState.CRASH_LOOPING, crashes=7, not_before=NOON + timedelta(hours=1))
    made = step(looping, Facts("FAILED"), change)
    assert made.start
    assert made.slot.crashes == 0


def test_a_crash_loop_resumes_when_asked() -> None:
    looping = replace(UP, state=SlotState.CRASH_LOOPING, crashes=7, not_before=NOON + timedelta(hours=1), renew=True)
    made = step(looping, Facts("FAILED"))
    assert (made.start, made.slot.crashes, made.slot.renew) == (True, 0, False)


def test_what_was_up_for_long_has_recovered() -> None:
    assert step(replace(UP, crashes=4), at=timedelta(minutes=1)).slot.crashes == 0
    assert step(replace(UP, crashes=4), Facts("FAILED"), at=timedelta(minutes=2)).slot.crashes == 1


@pytest.mark.parametrize("status", ["LOST", "KILLED", "CANCELLED"])
def test_what_is_no_fault_of_the_script_is_replaced_at_once_and_is_no_crash(status: str) -> None:
    made = step(replace(UP, crashes=4), Facts(status))
    assert (made.start, made.slot.crashes) == (True, 4)


@pytest.mark.parametrize(
    ("when", "status", "finished"),
    [
        ("always", "SUCCEEDED", False),
        ("on_failure", "SUCCEEDED", True),
        ("on_failure", "FAILED", False),
        ("never", "FAILED", True),
        ("never", "LOST", True),
    ],
)
def test_the_restart_policy(when: str, status: str, finished: bool) -> None:
    wanted = replace(WANT, restart=Restart.model_validate({"when": when}))
    made = step(UP, Facts(status), wanted)
    assert (made.slot.state is SlotState.FINISHED) is finished
    if finished:
        assert next_step(made.slot, Facts(status), wanted, now=NOON + timedelta(days=1)) is None
        assert step(made.slot, Facts(status), replace(wanted, script_id=V2)).start
        assert step(replace(made.slot, renew=True), Facts(status), wanted).start


def test_an_exclusive_daemon_drains_before_its_new_version_starts() -> None:
    wanted = replace(WANT, script_id=V2)
    made = step(UP, RUNNING, wanted)
    assert (made.slot.state, made.start, made.drain) == (SlotState.DRAINING, False, {RUN: "superseded"})
    assert next_step(made.slot, RUNNING, wanted, now=NOON) is None
    assert step(made.slot, Facts("KILLED"), wanted).start


ROLL = replace(WANT, script_id=V2, overlap=True)
BESIDE = Slot(0, SlotState.UP, 2, run_id=RUN, script_id=V2, settings="a", old_run_id=OLD, up_since=NOON)
BOTH = Facts("RUNNING", old_status="RUNNING")


def test_a_new_version_starts_beside_the_old_one() -> None:
    made = step(UP, RUNNING, ROLL)
    assert (made.start, made.drain, made.slot.old_run_id) == (True, {}, RUN)


def test_the_old_version_drains_once_the_new_one_is_up_and_progresses() -> None:
    waits = replace(BOTH, progress=Progress(lag=7, moved_at=NOON - SECOND, sampled_at=NOON))
    moves = replace(BOTH, progress=Progress(lag=7, moved_at=NOON + SECOND, sampled_at=NOON + SECOND))
    idle = replace(BOTH, progress=Progress(lag=0, moved_at=NOON - SECOND, sampled_at=NOON))
    assert next_step(BESIDE, BOTH, ROLL, now=NOON + 4 * SECOND) is None
    assert next_step(BESIDE, waits, ROLL, now=NOON + 6 * SECOND) is None
    for facts in (BOTH, moves, idle):
        assert step(BESIDE, facts, ROLL, at=6 * SECOND).drain == {OLD: "superseded"}
    assert step(BESIDE, waits, ROLL, at=PROOF_PATIENCE).drain == {OLD: "superseded"}
    assert next_step(BESIDE, replace(BOTH, old_told=True), ROLL, now=NOON + 6 * SECOND) is None
    assert step(BESIDE, Facts("RUNNING", old_status="KILLED"), ROLL, at=6 * SECOND).slot.old_run_id is None


def test_a_new_version_that_crashes_leaves_the_old_one_serving() -> None:
    slot = BESIDE
    for _ in range(4):
        slot = step(slot, replace(BOTH, status="FAILED"), ROLL).slot
        assert (slot.state, slot.old_run_id) == (SlotState.BACKOFF, OLD)
        slot = replace(slot, state=SlotState.UP, up_since=NOON)
    looping = step(slot, replace(BOTH, status="FAILED"), ROLL)
    assert (looping.slot.state, looping.slot.old_run_id, looping.drain) == (SlotState.CRASH_LOOPING, OLD, {})


def test_one_replica_changes_at_a_time_and_a_bad_version_stops_there() -> None:
    sibling = replace(BESIDE, slot=1, old_run_id=None)
    for state in (SlotState.STARTING, SlotState.BACKOFF, SlotState.CRASH_LOOPING):
        facts = replace(RUNNING, siblings=[replace(sibling, state=state)])
        assert next_step(UP, facts, ROLL, now=NOON) is None
    assert step(UP, replace(RUNNING, siblings=[sibling]), ROLL).start


def test_while_a_version_has_no_lock_what_runs_goes_on() -> None:
    assert next_step(UP, RUNNING, replace(ROLL, hold=True), now=NOON) is None
    assert step(UP, RUNNING, replace(ROLL, hold=True, up=False)).drain == {RUN: "drained"}


def test_a_daemon_that_is_not_wanted_drains_both_generations() -> None:
    made = step(BESIDE, BOTH, replace(ROLL, up=False))
    assert made.drain == {RUN: "drained", OLD: "drained"}
    done = step(made.slot, Facts("SUCCEEDED", old_status="SUCCEEDED"), replace(ROLL, up=False))
    assert (done.slot.state, done.slot.old_run_id) == (SlotState.DOWN, None)


class World:
    """Runs that start, end and drain at random, for one slot."""

    def __init__(self, *, overlap: bool, seed: int) -> None:
        self.random = random.Random(seed)
        self.wanted = replace(WANT, overlap=overlap)
        self.slot = Slot(0)
        self.now = NOON
        self.status: dict[UUID, str] = {}
        self.draining: set[UUID] = set()

    def alive(self) -> set[UUID]:
        return {run for run, status in self.status.items() if status == "RUNNING"}

    def happen(self) -> None:
        for run, status in list(self.status.items()):
            if run in self.draining and status == "RUNNING" and self.random.random() < 0.4:
                self.status[run] = "KILLED"
            elif status == "PENDING" and self.random.random() < 0.5:
                self.status[run] = "RUNNING"
            elif status == "RUNNING" and self.random.random() < 0.05:
                self.status[run] = self.random.choice(["FAILED", "SUCCEEDED"])
        if self.random.random() < 0.05:
            self.wanted = replace(self.wanted, script_id=self.random.choice([V1, V2]))
        if self.random.random() < 0.03:
            self.wanted = replace(self.wanted, up=not self.wanted.up)
        if self.random.random() < 0.03:
            self.slot = replace(self.slot, renew=True)
        self.now += SECOND

    def decide(self) -> None:
        slot = self.slot
        status, old_status = (None if run is None else self.status[run] for run in (slot.run_id, slot.old_run_id))
        facts = Facts(status=status, old_status=old_status, old_told=slot.old_run_id in self.draining)
        made = next_step(slot, facts, self.wanted, now=self.now)
        if made is None:
            return
        for run in made.drain:
            self.draining.add(run)
            self.status[run] = "CANCELLED" if self.status[run] == "PENDING" else self.status[run]
        self.slot = made.slot
        if made.start:
            run = uuid4()
            self.status[run] = "PENDING"
            self.slot = replace(
                self.slot, run_id=run, generation=slot.generation + 1, script_id=self.wanted.script_id, settings="a"
            )


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_whatever_happens(seed: int, overlap: bool) -> None:
    """Never two of an exclusive daemon, never none of another while it changes; in the end it is up and current."""
    world = World(overlap=overlap, seed=seed)
    for _ in range(150):
        world.happen()
        serving = world.alive() - world.draining
        world.decide()
        if not overlap:
            assert len(world.alive()) <= 1
        known = {world.slot.run_id, world.slot.old_run_id}
        assert world.alive() <= known | world.draining
        if serving and world.wanted.up and overlap:
            assert world.alive() - world.draining
    world.wanted = replace(world.wanted, up=True)
    world.random = random.Random(0)
    world.random.random = lambda: 0.3  # type: ignore[method-assign]
    for _ in range(400):
        world.happen()
        world.decide()
    assert world.slot.state is SlotState.UP
    assert world.slot.script_id == world.wanted.script_id
    assert world.alive() - world.draining == {world.slot.run_id}
