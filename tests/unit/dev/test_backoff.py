from itertools import accumulate

from kirby.dev.backoff import Backoff


def _delays(count: int, *, ran_for_s: float) -> list[float]:
    state, delays = Backoff(), []
    for _ in range(count):
        state, delay = state.after_end(ran_for_s=ran_for_s)
        delays.append(delay)
    return delays


def test_a_part_killed_once_is_back_at_once() -> None:
    assert _delays(1, ran_for_s=3600) == [0.2]


def test_a_crash_loop_slows_down_but_never_beyond_five_seconds() -> None:
    delays = _delays(10, ran_for_s=0.1)
    assert delays == sorted(delays)
    assert max(delays) <= 5
    assert list(accumulate(delays))[2] > 1


def test_a_long_healthy_life_is_forgiven() -> None:
    state = Backoff(failures=7)
    assert state.after_end(ran_for_s=60) == (Backoff(failures=1), 0.2)
