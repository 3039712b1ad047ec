"""A sensor: each run sends one day of hourly temperatures, 24 readings a station, to the topic `weather.raw`.

The readings are real (Seattle and San Francisco, 2010) and come with the package vega_datasets. Which day is sent
follows from the time the run was due: a run that is done again sends the same readings under the same keys.
New in 1.1: the second station, and degrees Celsius beside Fahrenheit.
"""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from kirby import Topic, ctx

TOPIC = "weather.raw"
EVERY_SECONDS = 10
STATIONS = {
    "Seattle": ("seattle-temps.csv", "%Y/%m/%d %H:%M"),
    "San Francisco": ("sf-temps.csv", "%Y/%m/%d %H:%M:%S"),
}


def main() -> None:
    day = day_to_send(due=ctx.due_at or datetime.now(UTC))
    with Topic(TOPIC, create=True) as raw:
        for station in STATIONS:
            sent = 0
            for reading in readings(station=station, day=day):
                raw.send(reading, key=station)
                sent += 1
            print(f"{station}: sent {sent} readings of {day:%d %B} to {TOPIC}")


def day_to_send(*, due: datetime) -> datetime:
    """Each interval of ten seconds stands for one day of 2010."""
    number = int(due.timestamp()) // EVERY_SECONDS % 364
    return datetime.strptime(f"2010 {number + 1}", "%Y %j")


def readings(*, station: str, day: datetime) -> Iterator[dict[str, Any]]:
    name, form = STATIONS[station]
    for row in rows(name):
        time = datetime.strptime(row["date"], form)
        if time.date() == day.date():
            fahrenheit = float(row["temp"])
            celsius = round((fahrenheit - 32) * 5 / 9, 1)
            yield {"station": station, "time": time.isoformat(), "fahrenheit": fahrenheit, "celsius": celsius}


def rows(name: str) -> list[dict[str, str]]:
    """A table of vega_datasets, read as a file: importing the package would import pandas for nothing."""
    path = Path(str(distribution("vega_datasets").locate_file(f"vega_datasets/_data/{name}")))
    with path.open(newline="") as table:
        return list(csv.DictReader(table))
