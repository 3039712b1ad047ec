"""Which messages a rewind is about, which ranges are refused, and how far it is."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kirby_api.rewinds.downstream import Flows, touched
from kirby_common.ledger import rewind_parts
from kirby_common.ledger.rewind_parts import BadRange, Part
from kirby_common.ports import Bounds, Commit, Place
from kirby_scheduler.domain.rewinding import moved, put_back, stood

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HERE: Place = ("raw", 0)


def plan(there: Bounds, *, committed: int = 100, end: datetime | None = None, partly: bool = False) -> list[Part]:
    return rewind_parts.plan(
        {HERE: there}, {HERE: Commit(committed)}, start=NOON, end=end, partly=partly, group="daily"
    )


def bounds(*, low: int = 0, high: int = 120, first: int | None = 40, oldest: datetime = NOON - HOUR) -> Bounds:
    return Bounds(low=low, high=high, first=first, oldest_at=oldest, until=high)


def test_a_part_goes_from_the_first_message_of_the_time_to_where_the_group_is() -> None:
    parts = plan(bounds())
    assert parts == [Part("raw", 0, 40)]
    assert rewind_parts.settled(parts, {HERE: Commit(104)}) == [Part("raw", 0, 40, 104, 104)]


def test_an_end_that_was_given_is_frozen_and_never_beyond_what_was_processed() -> None:
    parts = plan(Bounds(0, 120, 40, NOON - HOUR, until=60), end=NOON + HOUR)
    assert rewind_parts.settled(parts, {HERE: Commit(104)}) == [Part("raw", 0, 40, 60, 104)]
    assert rewind_parts.settled(parts, {HERE: Commit(50)}) == [Part("raw", 0, 40, 50, 50)]
    assert rewind_parts.settled(parts, {HERE: Commit(40)}) == []


@pytest.mark.parametrize(
    ("there", "committed", "why"),
    [
        (Bounds(0, 0, None, None, 0), 0, "raw has no messages"),
        (bounds(first=None), 100, "raw has no message of that time"),
        (bounds(), 40, "daily has not processed any message of that time yet"),
        (bounds(low=120, first=None), 100, "keeps what was sent since .*, so that nothing of the range is left"),
        (Bounds(120, 120, None, None, 120), 100, "keeps no message any more"),
        (bounds(low=70, first=70, oldest=NOON + HOUR), 100, r"since 2026-03-01 13:00:00 UTC; older .* 30 of the range"),
    ],
)
def test_a_range_with_nothing_to_do_says_why(there: Bounds, committed: int, why: str) -> None:
    with pytest.raises(BadRange, match=why):
        plan(there, committed=committed)


def test_what_is_left_of_an_expired_range_is_done_when_that_will_do() -> None:
    there = bounds(low=70, first=70, oldest=NOON + HOUR)
    with pytest.raises(BadRange) as refused:
        plan(there)
    assert (refused.value.left, refused.value.oldest_at) == (30, NOON + HOUR)
    assert plan(there, partly=True) == [Part("raw", 0, 70)]


def test_messages_that_were_deleted_before_the_range_do_not_matter() -> None:
    assert plan(bounds(low=30, oldest=NOON - HOUR)) == [Part("raw", 0, 40)]


@given(start=st.integers(0, 50), to=st.integers(51, 90), back=st.integers(90, 99), at=st.integers(0, 200))
def test_progress_never_leaves_the_part(start: int, to: int, back: int, at: int) -> None:
    parts = [Part("raw", 0, start, to, back)]
    positions = rewind_parts.reached(parts, {HERE: Commit(at)})
    assert start <= positions["raw:0"] <= to
    assert 0 <= rewind_parts.done(parts, positions) <= parts[0].size
    assert (rewind_parts.open_stretches(parts, positions) == {}) == (at >= to)


@given(start=st.integers(0, 50), to=st.integers(51, 90), more=st.integers(0, 20), at=st.integers(0, 200))
def test_a_group_that_was_moved_can_be_put_back_where_it_was(start: int, to: int, more: int, at: int) -> None:
    parts = [Part("raw", 0, start, to, to + more)]
    there = moved("r1", parts, {"raw:0": start}, rate=None)
    assert stood(there) == {HERE: Commit(to + more)}
    now = {HERE: Commit(at)}
    assert (now | put_back(parts, now))[HERE].offset == (at if at >= to else to + more)


def test_what_is_touched_goes_through_jobs_and_names_a_way_back() -> None:
    flows = Flows(
        reads={"daily": frozenset({"raw"}), "mail": frozenset({"sums"}), "loop": frozenset({"sums"})},
        writes={"daily": frozenset({"sums"}), "loop": frozenset({"raw", "extra"})},
    )
    found = touched(flows, "daily", frozenset({"raw"}))
    assert found.topics == ["sums", "extra", "raw"]
    assert found.jobs == ["loop", "mail"]
    assert found.cycle == ("daily", "sums", "loop", "raw", "daily")
    assert touched(flows, "mail", frozenset({"sums"})).topics == []
