"""Exceptions: when they are open, which one decides, what they skip and add; all of it pure."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kirby_common.ledger.judge import Judgement, ahead, judge, judge_each
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.transitions import Status
from kirby_common.ledger.walk import Rules, next_due
from kirby_common.ledger.windows import (
    Opening,
    Window,
    covers_all_for_ever,
    now_or_next,
    openings,
    overlaps_itself,
)
from kirby_common.schedules import ScheduleSpec

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
EACH_MINUTE = ScheduleSpec(kind="every", every=MINUTE)


def window(id: str = "w", **fields: Any) -> Window:
    values: dict[str, Any] = {"effect": "pause", "start": NOW, "end": None, "reason": "moving", "author": "ann"}
    return Window(id=id, **{**values, **fields})


def slow(n: int, id: str = "slow", **fields: Any) -> Window:
    return window(id, effect="slow", every_nth=n, **fields)


def judged(rules: Rules, *, after: timedelta, until: timedelta) -> list[Judgement]:
    """Each due time as somebody sees it who looks ahead."""
    return judge_each(rules, after=NOW + after, until=NOW + until, now=NOW + after)


def marks(rules: Rules, *, after: timedelta, until: timedelta) -> str:
    """One letter per due time: `x` is run, `.` is skipped."""
    return "".join("x" if j.status is Status.PENDING else "." for j in judged(rules, after=after, until=until))


def test_a_pause_skips_its_window_names_itself_and_ends_by_itself() -> None:
    rules = Rules([EACH_MINUTE], windows=[window("abcdefgh-1", end=NOW + 3 * MINUTE)])
    assert marks(rules, after=-2 * MINUTE, until=5 * MINUTE) == "x...xxx"
    skipped = judged(rules, after=-2 * MINUTE, until=5 * MINUTE)[1]
    assert skipped.reason == "paused, exception abcdefgh by ann: moving"
    assert skipped.window == "abcdefgh-1"


def test_every_nth_counts_from_the_opening_and_ends_by_itself() -> None:
    rules = Rules([EACH_MINUTE], windows=[slow(3, end=NOW + 7 * MINUTE)])
    assert marks(rules, after=-3 * MINUTE, until=9 * MINUTE) == "xx" + "x..x..x" + "xxx"


def test_another_cron_takes_the_place_of_the_schedule() -> None:
    hourly = ScheduleSpec(kind="cron", expr="0 * * * *")
    rules = Rules([hourly], windows=[window(effect="slow", cron="30 */4 * * *", end=NOW + 12 * HOUR)])
    found = judged(rules, after=-MINUTE, until=14 * HOUR)
    assert [j.due_at for j in found if j.status is Status.PENDING] == [
        NOW + hours for hours in (30 * MINUTE, 4.5 * HOUR, 8.5 * HOUR, 12 * HOUR, 13 * HOUR, 14 * HOUR)
    ]
    assert [j.window for j in found if j.status is Status.PENDING] == ["w"] * 3 + [None] * 3
    assert {j.reason for j in found if j.status is Status.SKIPPED} == {
        "slowed down to '30 */4 * * *', exception w by ann: moving"
    }


def test_the_next_due_time_is_never_later_than_one_that_a_window_adds() -> None:
    daily = ScheduleSpec(kind="cron", expr="0 3 * * *")
    weekly = window(effect="slow", cron="15 13 * * *", recurrence="0 13 * * 3", lasts=HOUR)
    rules = Rules([daily], windows=[weekly])
    at = NOW
    while (following := next_due(rules, after=at)) is not None and at < NOW + timedelta(days=10):
        assert judge_each(rules, after=at, until=following - timedelta(microseconds=1), now=at) == []
        at = following
    wednesday = datetime(2026, 6, 3, 13, 15, tzinfo=UTC)
    assert [j.due_at for j in judged(rules, after=timedelta(0), until=timedelta(days=7)) if j.window] == [wednesday]


def test_it_recurs_in_its_zone_for_so_long() -> None:
    nightly = window(recurrence="0 2 * * *", lasts=2 * HOUR, tz="Europe/Brussels")
    first = list(islice(openings(nightly, after=datetime(2026, 10, 24, 12, tzinfo=UTC)), 2))
    assert [(o.start, o.end) for o in first] == [
        (datetime(2026, 10, 25, 0, tzinfo=UTC), datetime(2026, 10, 25, 2, tzinfo=UTC)),
        (datetime(2026, 10, 26, 1, tzinfo=UTC), datetime(2026, 10, 26, 3, tzinfo=UTC)),
    ]


def test_a_recurring_one_begins_and_ends_with_its_own_bounds() -> None:
    bounded = window(recurrence="0 * * * *", lasts=30 * MINUTE, start=NOW + 10 * MINUTE, end=NOW + HOUR + 5 * MINUTE)
    assert [(o.start - NOW, (o.end or NOW) - NOW) for o in openings(bounded, after=NOW - HOUR)] == [
        (10 * MINUTE, 30 * MINUTE), (HOUR, HOUR + 5 * MINUTE),
    ]  # fmt: skip


def test_each_opening_of_a_recurring_slow_down_counts_anew() -> None:
    rules = Rules([EACH_MINUTE], windows=[slow(4, recurrence="*/10 * * * *", lasts=6 * MINUTE)])
    assert marks(rules, after=-MINUTE, until=19 * MINUTE) == ("x...x." + "xxxx") * 2


def test_a_window_on_a_schedule_touches_no_other_schedule() -> None:
    five = ScheduleSpec(kind="every", every=5 * MINUTE, id="five")
    ten = ScheduleSpec(kind="every", every=10 * MINUTE, id="ten")
    rules = Rules([five, ten], windows=[window(scope="schedule", schedule="five")])
    assert marks(rules, after=-MINUTE, until=20 * MINUTE) == "x.x.x"


@pytest.mark.parametrize(
    ("windows", "decides"),
    [
        ([slow(2, "a"), window("b", scope="environment")], "b"),
        ([slow(2, "a", scope="environment"), slow(3, "b", scope="label")], "b"),
        ([slow(2, "a", scope="label"), slow(3, "b", scope="job")], "b"),
        ([slow(2, "a", scope="job"), slow(3, "b", scope="context")], "b"),
        ([slow(2, "a", scope="context"), slow(3, "b", scope="schedule")], "b"),
        ([slow(2, "a", made=NOW), slow(3, "b", made=NOW + MINUTE)], "b"),
        ([window("a", made=NOW), window("b", made=NOW + MINUTE)], "b"),
        ([slow(2, "a", made=NOW), slow(3, "b", made=NOW)], "a"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_precedence(windows: list[Window], decides: str, turned: bool) -> None:
    rules = Rules([EACH_MINUTE], windows=windows[::-1] if turned else windows)
    skipped = judged(rules, after=timedelta(0), until=MINUTE)[0]
    assert skipped.status is Status.SKIPPED
    assert skipped.window == decides


def test_a_paused_context_names_its_own_pause_and_nothing_is_added() -> None:
    windows = [window(), window("cron", effect="slow", cron="30 * * * *")]
    rules = Rules([ScheduleSpec(kind="cron", expr="0 * * * *")], paused="paused by bob: x", windows=windows)
    assert [j.reason for j in judged(rules, after=timedelta(0), until=2 * HOUR)] == ["paused by bob: x"] * 2


def test_what_is_over_what_goes_on_and_what_comes() -> None:
    goes_on = window(start=NOW - HOUR, end=NOW + HOUR)
    assert now_or_next(goes_on, now=NOW) == Opening(goes_on, NOW - HOUR, NOW + HOUR)
    assert now_or_next(window(start=NOW - HOUR, end=NOW), now=NOW) is None
    comes = now_or_next(window(recurrence="0 18 * * *", lasts=HOUR), now=NOW)
    assert comes is not None
    assert comes.start == NOW + 6 * HOUR
    assert now_or_next(window(recurrence="0 18 * * *", lasts=HOUR, end=NOW + HOUR), now=NOW) is None


def test_bad_windows_are_told_apart() -> None:
    assert overlaps_itself(window(recurrence="0 * * * *", lasts=2 * HOUR), now=NOW)
    assert not overlaps_itself(window(recurrence="0 * * * *", lasts=HOUR), now=NOW)
    assert covers_all_for_ever(window(), now=NOW)
    assert covers_all_for_ever(window(recurrence="0 * * * *", lasts=HOUR), now=NOW)
    assert not covers_all_for_ever(window(recurrence="0 * * * *", lasts=30 * MINUTE), now=NOW)
    assert not covers_all_for_ever(slow(2), now=NOW)


SPECS = st.sampled_from(
    [
        EACH_MINUTE,
        ScheduleSpec(kind="cron", expr="*/3 * * * *", id="three"),
        ScheduleSpec(kind="cron", expr="7,37 * * * *", tz="Asia/Kolkata"),
        ScheduleSpec(kind="every", every=timedelta(seconds=45), id="often"),
    ]
)
EFFECTS: list[dict[str, Any]] = [
    {},
    {"effect": "slow", "every_nth": 2},
    {"effect": "slow", "every_nth": 7},
    {"effect": "slow", "cron": "*/4 * * * *"},
]
RECURRENCES: list[dict[str, Any]] = [{}, {"recurrence": "*/20 * * * *", "lasts": 11 * MINUTE}]
SCOPES: list[dict[str, Any]] = [{}, {"scope": "schedule", "schedule": "three"}, {"scope": "environment"}]
OFFSETS = st.integers(-60, 180).map(lambda minutes: minutes * MINUTE)


@st.composite
def some_windows(draw: st.DrawFn, id: str) -> Window:
    start = NOW + draw(OFFSETS)
    end = draw(st.one_of(st.none(), st.integers(1, 200).map(lambda m: start + m * MINUTE)))
    effect = draw(st.sampled_from(EFFECTS))
    again = draw(st.sampled_from(RECURRENCES))
    scope = draw(st.sampled_from(SCOPES))
    return window(id, **{"start": start, "end": end, **effect, **again, **scope})


RULES = st.builds(
    lambda specs, windows, policies: Rules(specs, policies, windows=windows),
    st.lists(SPECS, min_size=1, max_size=2, unique=True),
    st.tuples(some_windows("a"), some_windows("b")),
    st.sampled_from(
        [Policies(), Policies(misfire="skip"), Policies(misfire="fire_all", max_fires=3, catchup_window=HOUR)]
    ),
)


@given(RULES, st.lists(st.integers(1, 179), max_size=4))
@settings(max_examples=60, deadline=None)
def test_however_the_time_is_cut_the_judgement_is_the_same(rules: Rules, cuts: list[int]) -> None:
    start, now, end = NOW, NOW + 2 * HOUR, NOW + 3 * HOUR
    whole = judge_each(rules, after=start, until=end, now=now)
    edges = [start, *sorted(NOW + cut * MINUTE for cut in cuts), end]
    cut = [j for a, b in pairwise(edges) for j in judge_each(rules, after=a, until=b, now=now)]
    assert cut == whole
    assert [j.due_at for j in whole] == sorted({j.due_at for j in whole})
    first = judge_each(rules, after=start, until=end, now=now, most=5)
    assert first == whole[:5]


@given(RULES, st.integers(0, 180))
@settings(max_examples=60, deadline=None)
def test_ranges_stand_for_each_of_their_due_times_and_end_by_now(rules: Rules, minutes: int) -> None:
    now = NOW + minutes * MINUTE
    each = judge_each(rules, after=NOW, until=NOW + 3 * HOUR, now=now)
    rows = judge(rules, after=NOW, until=NOW + 3 * HOUR, now=now)
    assert sum(row.count for row in rows) == len(each)
    assert all(row.until <= now for row in rows if row.until is not None)
    for row in rows:
        stood_for = [j for j in each if row.due_at <= j.due_at <= (row.until or row.due_at)]
        assert len(stood_for) == row.count
        assert {(j.status, j.reason) for j in stood_for} == {(row.status, row.reason)}


@given(RULES)
@settings(max_examples=40, deadline=None)
def test_looking_ahead_foresees_what_will_be_judged(rules: Rules) -> None:
    foreseen = list(islice(ahead(rules, after=NOW), 50))
    assert foreseen == judge_each(rules, after=NOW, until=foreseen[-1].due_at, now=NOW)[:50]
