import pytest
from kirby.testing import Sent


@pytest.mark.parametrize("celsius", [5.1, 7.0])
def test_a_first_temperature_is_a_record(run_script, celsius):
    reading = Sent({"station": "Oslo", "celsius": celsius}, key="Oslo")
    left = run_script("processor.py", topics={"weather.raw": [reading]})
    assert left.values("weather.records") == [{"station": "Oslo", "celsius": celsius}]
    assert left.states["weather-records"] == {"Oslo": celsius}
