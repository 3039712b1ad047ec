"""Due times against a second implementation, over the clock changes of every zone."""

import contextlib
import os
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo, available_timezones

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st
from kirby_common.schedules import BadSchedule, Dst, ScheduleSpec, count_due, due_times, first_due, preview, validate
from kirby_common.schedules.localtime import Segment, segments

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
YEAR = timedelta(days=365)


def cron(expr: str, tz: str = "UTC", dst: str = "debian") -> ScheduleSpec:
    return ScheduleSpec(kind="cron", expr=expr, tz=tz, dst=Dst(dst))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def changes(tz: str, year: int) -> list[datetime]:
    """The instants at which the zone changes its offset in that year."""
    return [after.start for _, after in _neighbours(tz, year)]


def _neighbours(tz: str, year: int) -> list[tuple[Segment, Segment]]:
    start, end = datetime(year, 1, 1), datetime(year + 1, 1, 1)
    return [(a, b) for a, b in pairwise(segments(ZoneInfo(tz), start, end)) if b.start > start]


def whole_hours(tz: str, year: int) -> set[datetime]:
    """The changes by whole hours: after one by half an hour cronsim leaves out local times that exist."""
    return {b.start for a, b in _neighbours(tz, year) if (b.offset - a.offset) % timedelta(hours=1) == timedelta(0)}


def test_a_change_by_half_an_hour_leaves_no_existing_minute_out() -> None:
    """Santo Domingo went from -5 to -4:30 at midnight; two o'clock has all its sixty minutes that night."""
    start = at("1970-10-25 06:00")
    found = list(due_times(cron("* 2 * * *", "America/Santo_Domingo"), after=start, until=at("1970-10-25 12:00")))
    assert found == [at("1970-10-25 06:30") + timedelta(minutes=n) for n in range(60)]


def test_a_fixed_time_in_the_repeated_hour_is_due_once() -> None:
    found = preview(cron("30 2 * * *", "Europe/Brussels"), start=at("2026-10-24"), n=3)
    assert found == [at("2026-10-24 00:30"), at("2026-10-25 00:30"), at("2026-10-26 01:30")]


def test_a_fixed_time_in_the_gap_is_due_right_after_it_and_all_of_them_are_one() -> None:
    assert preview(cron("30 2 29 3 *", "Europe/Brussels"), start=at("2026-03-01"), n=1) == [at("2026-03-29 01:00")]
    found = preview(cron("10,20,30 2 * * *", "Europe/Brussels"), start=at("2026-03-28 12:00"), n=2)
    assert found == [at("2026-03-29 01:00"), at("2026-03-30 00:10")]


def test_a_fixed_time_at_the_end_of_the_gap_is_not_doubled() -> None:
    found = preview(cron("0 2,3 * * *", "Europe/Brussels"), start=at("2026-03-28 12:00"), n=2)
    assert found == [at("2026-03-29 01:00"), at("2026-03-30 00:00")]


def test_a_gap_may_be_skipped() -> None:
    found = preview(cron("30 2 * * *", "Europe/Brussels", "skip_gap"), start=at("2026-03-28 12:00"), n=1)
    assert found == [at("2026-03-30 00:30")]


def test_wildcard_times_follow_elapsed_time() -> None:
    found = preview(cron("*/30 * * * *", "Europe/Brussels"), start=at("2026-10-24 23:45"), n=6)
    assert {b - a for a, b in pairwise(found)} == {timedelta(minutes=30)}


def test_utc_knows_no_clock_changes() -> None:
    found = preview(cron("30 2 * * *", "Europe/Brussels", "utc"), start=at("2026-10-24"), n=2)
    assert found == [at("2026-10-24 02:30"), at("2026-10-25 02:30")]


FIXED = ["30 2 * * *", "0 3 * * *", "15,45 1 * * *", "59 23 * * *", "0 0 1 * *", "30 1 * * 0", "5 0 29 2 *"]
WILD = ["*/7 * * * *", "17 * * * *", "* 2 * * *", "*/15 1-3 * * *", "0 */2 * * *"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ZONES), st.integers(1970, 2037), st.sampled_from(FIXED + WILD), st.integers(-30, 30))
def test_agrees_with_cronsim_around_clock_changes(zone: str, year: int, expr: str, hours: int) -> None:
    """cronsim follows Debian's cron too; it is asked from two days before each change."""
    agree(zone, year, expr, hours)


if "KIRBY_ALL_CLOCK_CHANGES" in os.environ:  # hours of work; what is above is a sample of it

    @pytest.mark.parametrize("zone", ZONES)
    def test_agrees_with_cronsim_around_every_clock_change(zone: str) -> None:
        for year in range(1970, 2038):
            for expr in FIXED + WILD:
                agree(zone, year, expr, 0)


def agree(zone: str, year: int, expr: str, hours: int) -> None:
    tz = ZoneInfo(zone)
    for change in sorted(whole_hours(zone, year))[:3]:
        start = (change - timedelta(days=2) + timedelta(hours=hours)).replace(tzinfo=UTC, second=0, microsecond=0)
        if any(abs((c - change).total_seconds()) < 86400 * 4 and c != change for c in changes(zone, year)):
            continue
        until = start + timedelta(days=4)
        ours = list(due_times(cron(expr, zone), after=start, until=until))
        assert ours == oracle(expr, start.astimezone(tz), until), (zone, expr, start, change)


def oracle(expr: str, start: datetime, until: datetime) -> list[datetime]:
    instants = (local.astimezone(UTC) for local in CronSim(expr, start))
    return sorted(set(takewhile(lambda at: at <= until, instants)))


ALIKE = [
    "0 0 L * *", "0 0 1,L * *", "0 0 * * 5#2", "0 0 * * 5L", "0 0 * * 1#1,3#3", "0 0 * * 1,2#3", "0 0 13 * 5#2",
    "0 0 L * 5L", "0 0 */2 * 1", "0 0 1-7/3 * mon", "0 0 1 */5 1-5/2", "0 0 15 * */2", "0 0 * * 0,7",
    "0 9-17/2 * jan-mar mon-fri", "5/15 * * * *", "*/10 30 2 * * *", "30 15 8 L * *",
]  # fmt: skip


@pytest.mark.parametrize("expr", ALIKE)
def test_reads_expressions_as_cronsim_does(expr: str) -> None:
    start = at("2026-01-01")
    theirs = [local.astimezone(UTC) for local in islice(CronSim(expr, start), 5)]
    assert preview(cron(expr), start=start, n=5) == theirs
    if theirs[-1] < at("2040-01-01"):
        assert count_due(cron(expr), after=start, until=theirs[-1]) == 5


@pytest.mark.parametrize(
    ("name", "expr"),
    [
        ("@hourly", "0 * * * *"), ("@daily", "0 0 * * *"), ("@midnight", "0 0 * * *"), ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"), ("@yearly", "0 0 1 1 *"), ("@annually", "0 0 1 1 *"),
    ],
)  # fmt: skip
def test_names_stand_for_expressions(name: str, expr: str) -> None:
    start, until = at("2026-01-01"), at("2026-02-01")
    assert preview(cron(name), start=start, n=3) == preview(cron(expr), start=start, n=3)
    assert count_due(cron(name), after=start, until=until) == count_due(cron(expr), after=start, until=until)


SPECS = st.tuples(st.sampled_from(ZONES), st.integers(1970, 2037), st.sampled_from(FIXED + WILD))


@given(SPECS, st.floats(0, 364), st.floats(0, 3))
@settings(max_examples=150, deadline=None)
def test_cutting_a_stretch_in_two_changes_nothing(what: tuple[str, int, str], day: float, length: float) -> None:
    zone, year, expr = what
    spec = cron(expr, zone)
    start = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day)
    middle, end = start + timedelta(days=length / 2), start + timedelta(days=length)
    whole = list(due_times(spec, after=start, until=end))
    assert whole == [*due_times(spec, after=start, until=middle), *due_times(spec, after=middle, until=end)]
    assert whole == sorted(set(whole))
    assert first_due(spec, after=start) == (whole[0] if whole else first_due(spec, after=end))


def test_every_counts_from_its_anchor() -> None:
    spec = ScheduleSpec(kind="every", every=timedelta(minutes=7), anchor=at("2026-01-01 00:03"))
    found = list(due_times(spec, after=at("2026-01-01"), until=at("2026-01-01 00:20")))
    assert found == [at("2026-01-01 00:03"), at("2026-01-01 00:10"), at("2026-01-01 00:17")]


def test_at_is_due_once() -> None:
    spec = ScheduleSpec(kind="at", at=at("2026-01-01 12:00"))
    assert preview(spec, start=at("2026-01-01"), n=5) == [at("2026-01-01 12:00")]
    assert preview(spec, start=at("2026-01-01 12:00"), n=5) == []


@pytest.mark.parametrize(
    ("expr", "words"),
    [
        ("30 2 31 2 *", "never fires"),
        ("* * * *", "has 4 fields"),
        ("61 * * * *", "not a cron expression"),
        ("@reboot", "not a cron name"),
        ("H * * * *", "H or R"),
        ("", "empty"),
        ("*/0 * * * *", "not a cron expression"),
        ("0 0 30 2 *", "never fires"),
        ("* * * * * * *", "has 7 fields"),
    ],
)
def test_bad_expressions_are_refused_with_a_sentence(expr: str, words: str) -> None:
    with pytest.raises(BadSchedule, match=words):
        validate(cron(expr))


@pytest.mark.parametrize(
    "expr", ["@hourly", "0 0 L * *", "0 0 * * 5#2", "*/10 * * * * *", "0 9-17/2 * * mon-fri", "@Daily"]
)
def test_good_expressions_are_taken(expr: str) -> None:
    validate(cron(expr))


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(BadSchedule, match="'Mars/Olympus' is not a time zone"):
        validate(cron("* * * * *", "Mars/Olympus"))


@given(st.text(max_size=30))
@settings(max_examples=300)
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(BadSchedule):
        validate(cron(text))


EVERY = ScheduleSpec(kind="every", every=timedelta(minutes=7), anchor=at("2026-01-01 00:03"))
SECONDS = ["*/10 30 2 * * *", "5 */20 * * * *"]


@given(SPECS, st.sampled_from(SECONDS), st.sampled_from(["debian", "skip_gap"]), st.floats(0, 364), st.floats(0, 40))
@settings(max_examples=150, deadline=None)
def test_counting_agrees_with_going_through_them(
    what: tuple[str, int, str], six: str, dst: str, day: float, length: float
) -> None:
    zone, year, expr = what
    start = datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day)
    for spec, until in (
        (cron(expr, zone, dst), start + timedelta(days=length)),
        (cron(six, zone, dst), start + timedelta(days=min(length, 1.5))),
        (EVERY, start + timedelta(days=length)),
    ):
        assert count_due(spec, after=start, until=until) == sum(1 for _ in due_times(spec, after=start, until=until))


def test_counting_years_of_seconds_goes_through_days_only() -> None:
    spec = cron("* * * * * *", "Europe/Brussels")
    assert count_due(spec, after=at("2020-01-01"), until=at("2026-01-01")) == 2192 * 86_400
