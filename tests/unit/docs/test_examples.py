"""The example packages by themselves: what they compute, on the real tables, without a broker."""

import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"


def load(folder: str) -> ModuleType:
    """An example's module; two versions of one package can be loaded side by side."""
    (source,) = (EXAMPLES / folder / "src").glob("*/__init__.py")
    spec = importlib.util.spec_from_file_location(f"example_{folder.replace('-', '_').replace('.', '_')}", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_sensor_sends_a_whole_day_of_seattle() -> None:
    readings = list(load("weather-sensor-1.0").readings(day=datetime(2010, 1, 1)))
    assert len(readings) == 24
    assert readings[0] == {"station": "Seattle", "time": "2010-01-01T00:00:00", "fahrenheit": 39.4}


def test_the_newer_sensor_knows_a_second_station_and_celsius() -> None:
    readings = list(load("weather-sensor-1.1").readings(station="San Francisco", day=datetime(2010, 1, 1)))
    assert readings[0] == {
        "station": "San Francisco",
        "time": "2010-01-01T00:00:00",
        "fahrenheit": 47.8,
        "celsius": 8.8,
    }


def test_a_due_time_always_stands_for_the_same_day() -> None:
    sensor = load("weather-sensor-1.1")
    due = datetime(2026, 3, 1, tzinfo=UTC)
    days = {sensor.day_to_send(due=due + timedelta(seconds=10 * n)) for n in range(364)}
    assert len(days) == 364
    assert sensor.day_to_send(due=due) == sensor.day_to_send(due=due + timedelta(seconds=9))


def test_the_processor_makes_one_record_of_each_day_of_the_year() -> None:
    """Also of 14 March, which has 23 readings because summer time began."""
    sensor, processor = load("weather-sensor-1.0"), load("weather-daily")
    days = processor.Days()
    records = []
    for number in (72, 73, 74):
        day = datetime(2010, 1, 1) + timedelta(days=number - 1)
        records += [record for reading in sensor.readings(day=day) if (record := days.add(reading))]
    assert [(r["day"], r["readings"]) for r in records] == [("2010-03-13", 24), ("2010-03-14", 23), ("2010-03-15", 24)]
    assert not days


def test_a_reading_that_comes_twice_counts_once() -> None:
    days = load("weather-daily").Days()
    for hour, degrees in ((22, 40.0), (22, 40.0), (23, 50.0)):
        record = days.add({"station": "Seattle", "time": f"2010-01-01T{hour}:00:00", "fahrenheit": degrees})
    assert record == {"station": "Seattle", "day": "2010-01-01", "readings": 2, "low": 40.0, "mean": 45.0, "high": 50.0}


def test_the_records_are_the_coldest_and_the_warmest_day_and_a_repeat_changes_nothing() -> None:
    records_with = load("weather-daily").records_with
    days = [{"day": "2010-01-01", "low": 40, "high": 50}, {"day": "2010-01-02", "low": 39, "high": 50}]
    known = records_with(records_with(None, days[0]), days[1])
    assert known == {"low": {"degrees": 39, "day": "2010-01-02"}, "high": {"degrees": 50, "day": "2010-01-01"}}
    assert records_with(known, days[1]) == known


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (2, 0), (3, 1), (10, 4), (100_000, 9592)])
def test_the_sieve_counts_primes(limit: int, count: int) -> None:
    assert load("prime-sieve").count_primes(limit) == count


def test_the_report_fails_every_third_time() -> None:
    fails = load("flaky-report").fails
    due = datetime(2026, 3, 1, tzinfo=UTC)
    outcome = [fails(due=due + timedelta(seconds=20 * n), every_seconds=20) for n in range(9)]
    assert sum(outcome) == 3
    assert outcome[:3] == outcome[3:6] == outcome[6:]
