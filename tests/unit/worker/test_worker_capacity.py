"""How many runs are asked for, and when each is due on this machine."""

from dataclasses import replace
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st
from kirby_worker.domain.attempt import Attempt, Phase, Ref, claimed
from kirby_worker.domain.capacity import Limits, next_ask, to_ask, to_claim
from kirby_worker.domain.due import due_on_boot_clock

LIMITS = Limits(places=64, running=8)


def attempt(phase: Phase, *, due: float = 0.0, daemon: bool = False) -> Attempt:
    return replace(claimed(Ref(uuid4(), 1), due=due, daemon=daemon), phase=phase)


def ask(held: list[Attempt], *, now: float = 100.0, disk_used: float = 0.5) -> int:
    return to_claim(held, limits=LIMITS, now=now, disk_used=disk_used)


def test_an_empty_worker_asks_for_as_many_as_may_run() -> None:
    assert ask([]) == 8


def test_a_claimed_run_that_is_not_yet_due_takes_no_running_place() -> None:
    assert ask([attempt(Phase.READY, due=200.0)] * 20) == 8
    assert ask([attempt(Phase.READY, due=50.0)] * 3) == 5


def test_no_more_than_the_places_wait() -> None:
    assert ask([attempt(Phase.READY, due=200.0)] * 62) == 2
    assert ask([attempt(Phase.READY, due=200.0)] * 64) == 0


def test_daemons_take_no_running_place() -> None:
    assert ask([attempt(Phase.RUNNING, daemon=True)] * 20) == 8
    assert ask([attempt(Phase.RUNNING)] * 6) == 2


def test_a_full_disk_claims_nothing() -> None:
    assert ask([], disk_used=0.91) == 0


def test_the_earliest_due_are_launched_first_as_far_as_places_go() -> None:
    held = [attempt(Phase.READY, due=float(due)) for due in (100, 98, 99)] + [attempt(Phase.RUNNING)] * 6
    assert [a.due for a in to_ask(held, limits=LIMITS, now=100.0)] == [98.0, 99.0]


def test_nothing_is_asked_for_more_than_300_ms_ahead() -> None:
    held = [attempt(Phase.READY, due=100.0), attempt(Phase.PREPARING, due=90.0)]
    assert to_ask(held, limits=LIMITS, now=99.69) == []
    assert next_ask(held, now=99.0) == 99.7
    assert len(to_ask(held, limits=LIMITS, now=99.7)) == 1


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1)), min_size=1))
def test_due_is_never_early_and_the_nearest_reckoning_is_kept(answers: list[tuple[float, float]]) -> None:
    """Each answer leaves the ledger at `left` and takes `way` to arrive: the true due instant is 10."""
    known = None
    for left, way in answers:
        known = due_on_boot_clock(arrived=left + way, due_in_ms=(10 - left) * 1000, known=known)
    assert known is not None
    assert known >= 10 - 1e-9
    assert known <= 10 + min(way for _, way in answers) + 1e-9
