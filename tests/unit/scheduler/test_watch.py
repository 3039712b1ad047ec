"""The reaper's watch: only what *it* has seen unchanged counts, by its own clock."""

from kirby_scheduler.domain.watch import Watch


def looks(watch: Watch[str], beats: list[dict[str, int]], *, step: float) -> list[list[str]]:
    """What is lost at each look, the looks being `step` seconds apart."""
    lost = []
    for number, seen in enumerate(beats):
        watch, gone = watch.look(seen, now=number * step)
        lost.append(gone)
    return lost


def test_a_beating_attempt_is_never_lost() -> None:
    assert looks(Watch(20.0), [{"a": n} for n in range(40)], step=2.0) == [[]] * 40


def test_a_silent_one_is_lost_after_a_lease_and_a_quarter() -> None:
    lost = looks(Watch(20.0), [{"a": 7}] * 14, step=2.0)
    assert next(number * 2 for number, gone in enumerate(lost) if gone) == 26
    assert lost[:13] == [[]] * 13


def test_a_pause_of_the_watcher_starts_the_watch_anew() -> None:
    watch: Watch[str] = Watch(20.0)
    watch, _ = watch.look({"a": 7}, now=0.0)
    watch, lost = watch.look({"a": 7}, now=3600.0)
    assert lost == []
    for second in range(3602, 3624, 2):
        watch, lost = watch.look({"a": 7}, now=float(second))
        assert lost == []


def test_a_counter_set_back_counts_as_a_beat() -> None:
    watch: Watch[str] = Watch(20.0)
    for second in range(0, 24, 2):
        watch, _ = watch.look({"a": 7}, now=float(second))
    watch, lost = watch.look({"a": 1}, now=26.0)
    assert lost == []
