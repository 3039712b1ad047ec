"""How a daemon is, judged from what the ledger knows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from kirby_common.ledger.health import DaemonFacts, Health, Progress, SlotFacts, SlotState, judge

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
LEASE = 20 * SECOND
UP = SlotFacts(0, SlotState.UP, run_status="RUNNING", up_since=NOON - 60 * MINUTE, worker="w1", beat_at=NOON)


def daemon(*slots: SlotFacts, replicas: int | None = None, **more: object) -> DaemonFacts:
    count = len(slots) if replicas is None else replicas
    return DaemonFacts(count, [replace(s, slot=n) for n, s in enumerate(slots)], **more)  # type: ignore[arg-type]


def judged(facts: DaemonFacts) -> tuple[Health, str, int, int]:
    found = judge(facts, lease=LEASE, now=NOON)
    return found.health, found.reason, found.live, found.wanted


def test_it_is_healthy_when_all_replicas_are_heard_of() -> None:
    assert judged(daemon(UP, UP)) == (Health.HEALTHY, "up since 2026-11-25 11:00:00 UTC", 2, 2)


@pytest.mark.parametrize(
    ("slot", "health", "reason", "live"),
    [
        (replace(UP, beat_at=NOON - 26 * SECOND), Health.DOWN, "worker w1 is silent since 2026-11-25 11:59:34 UTC", 0),
        (replace(UP, beat_at=NOON - 24 * SECOND), Health.HEALTHY, "up since 2026-11-25 11:00:00 UTC", 1),
        (replace(UP, run_status="FAILED", reason="exit code 3"), Health.DOWN, "ended: exit code 3", 0),
        (
            SlotFacts(0, SlotState.STARTING, run_status="PENDING"),
            Health.STARTING, "waits for a worker with a free place", 0,
        ),
        (
            SlotFacts(0, SlotState.BACKOFF, run_status="FAILED", reason="exit code 3", not_before=NOON + MINUTE),
            Health.DOWN, "ended: exit code 3; tried again at 2026-11-25 12:01:00 UTC", 0,
        ),
        (
            SlotFacts(0, SlotState.CRASH_LOOPING, run_status="FAILED", crashes=5, reason="exit code 3"),
            Health.CRASH_LOOPING, "5 quick exits in a row: exit code 3", 0,
        ),
        (
            replace(UP, crashes=6), Health.CRASH_LOOPING, "6 quick exits in a row; another try is on its way", 1,
        ),
        (
            SlotFacts(0, SlotState.STARTING, run_status="CLAIMED", old_status="RUNNING"),
            Health.STARTING, "is being prepared by a worker; the version before still runs", 1,
        ),
    ],
)  # fmt: skip
def test_a_replica_says_why(slot: SlotFacts, health: Health, reason: str, live: int) -> None:
    assert judged(daemon(slot)) == (health, reason, live, 1)


def test_the_worst_replica_counts() -> None:
    looping = SlotFacts(0, SlotState.CRASH_LOOPING, crashes=5)
    starting = SlotFacts(0, SlotState.STARTING, run_status="PENDING")
    assert judged(daemon(UP, starting))[0] is Health.STARTING
    assert judged(daemon(UP, starting, looping))[0] is Health.CRASH_LOOPING
    assert judged(daemon(UP, replicas=3)) == (Health.DOWN, "1 of 3 replicas have been begun", 1, 3)


def test_what_finished_is_not_missing() -> None:
    finished = SlotFacts(0, SlotState.FINISHED, run_status="SUCCEEDED")
    assert judged(daemon(finished)) == (Health.OFF, "ended and stays so (restart=always)", 0, 0)
    assert judged(daemon(UP, finished))[2:] == (1, 1)


def test_what_is_not_wanted_is_off() -> None:
    assert judged(daemon(off="paused by ann: maintenance")) == (Health.OFF, "paused by ann: maintenance", 0, 0)
    dropped = replace(UP, wanted=False, state=SlotState.DRAINING)
    assert judged(daemon(UP, dropped, replicas=1))[0] is Health.HEALTHY


@pytest.mark.parametrize(
    ("lag", "still_for", "up_for", "stalled"),
    [
        (1, 5 * MINUTE, 60 * MINUTE, True),
        (0, 5 * MINUTE, 60 * MINUTE, False),
        (1, 4 * MINUTE, 60 * MINUTE, False),
        (1, 5 * MINUTE, 4 * MINUTE, False),
    ],
    ids=["stalled", "nothing waits", "moved lately", "just up"],
)
def test_progress(lag: int, still_for: timedelta, up_for: timedelta, stalled: bool) -> None:
    progress = Progress(lag, moved_at=NOON - still_for, sampled_at=NOON)
    found = judge(daemon(replace(UP, up_since=NOON - up_for), progress=progress), lease=LEASE, now=NOON)
    assert (found.health is Health.STALLED) is stalled


def test_an_old_sample_accuses_nobody() -> None:
    """While Kafka can't be asked, nothing is known of the offsets."""
    progress = Progress(5, moved_at=NOON - 60 * MINUTE, sampled_at=NOON - 58 * MINUTE)
    assert judged(daemon(UP, progress=progress))[0] is Health.HEALTHY
