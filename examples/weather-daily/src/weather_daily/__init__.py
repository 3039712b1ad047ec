"""A processor: reads hourly temperatures from `weather.raw`, writes one record a station and day to `weather.daily`.

The coldest and the warmest day of each station are kept in the State `weather-records`.
"""

from collections import defaultdict
from datetime import date, datetime
from statistics import fmean
from typing import Any

from kirby import State, Topic

SOURCE = "weather.raw"
DESTINATION = "weather.daily"
RECORDS = "weather-records"
LAST_HOUR = 23


class Days:
    """The days being collected. Readings are kept by hour, so one that comes twice counts once."""

    def __init__(self) -> None:
        self._hours: dict[tuple[str, date], dict[int, float]] = defaultdict(dict)

    def add(self, reading: dict[str, Any]) -> dict[str, Any] | None:
        """Takes a reading in; returns the day's record at its last hour.

        The readings of a station have its name as their key, so they come in order. A day may have fewer than
        24 of them: the one on which summer time began has 23.
        """
        time = datetime.fromisoformat(reading["time"])
        key = (reading["station"], time.date())
        self._hours[key][time.hour] = reading["fahrenheit"]
        if time.hour != LAST_HOUR:
            return None
        return record(station=key[0], day=key[1], degrees=list(self._hours.pop(key).values()))

    def __bool__(self) -> bool:
        """Whether a day is still incomplete."""
        return bool(self._hours)


def record(*, station: str, day: date, degrees: list[float]) -> dict[str, Any]:
    return {
        "station": station,
        "day": day.isoformat(),
        "readings": len(degrees),
        "low": min(degrees),
        "mean": round(fmean(degrees), 1),
        "high": max(degrees),
    }


def records_with(known: dict[str, Any] | None, day: dict[str, Any]) -> dict[str, Any]:
    """A station's records once this day counts, too. A day that comes twice changes nothing."""
    low, high = {"degrees": day["low"], "day": day["day"]}, {"degrees": day["high"], "day": day["day"]}
    if known is None:
        return {"low": low, "high": high}
    return {
        "low": low if low["degrees"] < known["low"]["degrees"] else known["low"],
        "high": high if high["degrees"] > known["high"]["degrees"] else known["high"],
    }


def main() -> None:
    days = Days()
    with (
        Topic(SOURCE, group="weather-daily", create=True) as raw,
        Topic(DESTINATION, create=True, partitions=1) as daily,
        State(RECORDS, create=True) as records,
    ):
        print(f"reading {SOURCE}")
        for message in raw:
            done = days.add(message.value)
            if done is not None:
                daily.send(done, key=done["station"])
                known = records.get(done["station"])
                if (wanted := records_with(known, done)) != known:
                    records[done["station"]] = wanted
                print(f"{done['station']} {done['day']}: {done['low']} to {done['high']} °F, mean {done['mean']}")
            if not days:  # What is not in a finished record would be lost with the process: it is read again then.
                raw.commit()
