"""Asks how warm it is, and sends it to the topic weather.raw."""

from kirby import Topic, WebClient, ctx

STATIONS = {"Seattle": (47.6, -122.3), "San Francisco": (37.8, -122.4)}

with WebClient("open-meteo", "https://api.open-meteo.com/v1") as service, Topic("weather.raw", create=True) as raw:
    for station, (latitude, longitude) in STATIONS.items():
        asked = {"latitude": latitude, "longitude": longitude, "current": "temperature_2m"}
        celsius = service.get("forecast", params=asked)["current"]["temperature_2m"]
        raw.send({"station": station, "celsius": celsius, "at": ctx.due_at}, key=station)
        print(f"{station}: {celsius} °C")
