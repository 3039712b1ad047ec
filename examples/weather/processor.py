"""Notices when a station is warmer than ever."""

from kirby import State, Topic

with (
    Topic("weather.raw", group="records", create=True) as raw,
    Topic("weather.records", create=True) as news,
    State("weather-records", create=True) as records,
):
    for message in raw:
        station, celsius = message.value["station"], message.value["celsius"]
        if celsius > records.get(station, -273.15):
            records[station] = celsius
            news.send({"station": station, "celsius": celsius})
        raw.commit()
