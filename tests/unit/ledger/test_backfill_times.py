"""The due times of a backfill: each once, in its order, whatever the size of the steps."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kirby_common.ledger.backfill_times import Stretch
from kirby_common.ledger.backfills import Existing, left_alone
from kirby_common.schedules import ScheduleSpec

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def every(**interval: float) -> ScheduleSpec:
    return ScheduleSpec(kind="every", every=timedelta(**interval), anchor=START)


def walk(stretch: Stretch, *, newest_first: bool, steps: list[int]) -> list[datetime]:
    found: list[datetime] = []
    position: datetime | None = None
    for most in [*steps, 10_000]:
        batch = stretch.following(position, newest_first=newest_first, most=most)
        assert len(batch) <= most
        found += batch
        position = batch[-1] if batch else position
    return found


def test_the_range_has_its_beginning_and_not_its_end() -> None:
    stretch = Stretch([every(hours=1)], START, START + 3 * HOUR)
    assert list(stretch.instants()) == [START, START + HOUR, START + 2 * HOUR]


def test_two_schedules_due_together_are_one_due_time() -> None:
    stretch = Stretch([every(hours=1), every(hours=2)], START, START + 4 * HOUR)
    assert stretch.count(most=100) == 4


def test_what_is_more_than_enough_is_not_counted_to_its_end() -> None:
    assert Stretch([every(seconds=1)], START, START + timedelta(days=3650)).count(most=100) == 101


@given(
    minutes=st.integers(1, 300),
    others=st.integers(1, 300),
    hours=st.integers(1, 200),
    steps=st.lists(st.integers(1, 50), max_size=20),
    newest_first=st.booleans(),
)
def test_every_due_time_once_whatever_the_steps(
    minutes: int, others: int, hours: int, steps: list[int], newest_first: bool
) -> None:
    stretch = Stretch([every(minutes=minutes), every(minutes=others)], START, START + hours * HOUR)
    whole = [START + timedelta(minutes=m) for m in range(hours * 60) if m % minutes == 0 or m % others == 0]
    assert walk(stretch, newest_first=newest_first, steps=steps) == (whole[::-1] if newest_first else whole)


@pytest.mark.parametrize(
    ("existing", "statuses", "left"),
    [
        ("leave", ["SUCCEEDED"], True),
        ("leave", ["FAILED"], True),
        ("leave", ["PENDING"], True),
        ("leave", ["MISSED", "SKIPPED", "CANCELLED"], False),
        ("leave", [], False),
        ("failed", ["FAILED", "LOST", "KILLED", "MISSED"], False),
        ("failed", ["FAILED", "SUCCEEDED"], True),
        ("failed", ["RUNNING"], True),
        ("anew", ["SUCCEEDED", "RUNNING"], False),
    ],
)
def test_which_due_times_are_left_alone(existing: Existing, statuses: list[str], left: bool) -> None:
    assert left_alone(existing, statuses) is left
