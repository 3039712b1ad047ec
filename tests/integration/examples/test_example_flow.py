"""The demo's sensor and processor on a real broker: real hourly rows in, one record a station and day out."""

import os
import subprocess
import sys
from pathlib import Path

import kirby
import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def environment(kafka_bootstrap: str, topic_prefix: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONUNBUFFERED": "1",
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KIRBY_TOPIC_PREFIX": topic_prefix,
    }


def command(folder: str, module: str) -> list[str]:
    code = f"import sys; sys.path.insert(0, {str(EXAMPLES / folder / 'src')!r}); import {module}; {module}.main()"
    return [sys.executable, "-c", code]


def test_two_days_of_two_stations_become_four_records(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = command("weather-sensor-1.1", "weather_sensor")
    for due in ("2026-03-01T00:00:00+00:00", "2026-03-01T00:00:10+00:00"):
        done = subprocess.run(
            sensor, env=environment | {"KIRBY_DUE_AT": due}, check=True, capture_output=True, text=True, timeout=60
        )
        assert "San Francisco: sent 24 readings of " in done.stdout
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "KIRBY_TOPIC_PREFIX"):
        monkeypatch.setenv(name, environment[name])
    processor = subprocess.Popen(
        command("weather-daily", "weather_daily"), env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        with kirby.Topic("weather.daily", create=True) as daily:
            records = [message.value for _, message in zip(range(4), daily.iterate(timeout=60), strict=False)]
    finally:
        processor.terminate()
        output, _ = processor.communicate(timeout=30)
    assert sorted(r["station"] for r in records) == ["San Francisco", "San Francisco", "Seattle", "Seattle"]
    assert all(r["readings"] == 24 and r["low"] <= r["mean"] <= r["high"] for r in records)
    assert processor.returncode == 0
    assert output.count("°F") == 4
