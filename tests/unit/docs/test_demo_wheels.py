"""The demo's wheels are made from the example sources, and its documents name only what they bring along."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kirby_api.demo.wheels import build_wheels, document

NAMES = [
    "flaky_report-1.0.0-py3-none-any.whl",
    "prime_sieve-1.0.0-py3-none-any.whl",
    "weather_daily-1.0.0-py3-none-any.whl",
    "weather_sensor-1.0.0-py3-none-any.whl",
    "weather_sensor-1.1.0-py3-none-any.whl",
]


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = build_wheels(tmp_path / "a"), build_wheels(tmp_path / "b")
    assert [wheel.name for wheel in first] == NAMES
    assert [wheel.read_bytes() for wheel in first] == [wheel.read_bytes() for wheel in second]


def test_a_wheel_installs_and_its_command_runs(tmp_path: Path) -> None:
    wheels = build_wheels(tmp_path / "wheels")
    target = tmp_path / "installed"
    uv = Path(sys.executable).with_name("uv")
    install = [str(uv), "pip", "install", "--no-deps", "--offline", "--python", sys.executable, "--target", str(target)]
    subprocess.run([*install, str(wheels[1])], check=True, capture_output=True)
    done = subprocess.run(
        [str(target / "bin" / "prime-sieve"), "1000"],
        env={"PYTHONPATH": str(target)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("168 primes below 1000 in ")


@pytest.mark.parametrize("name", ["demo.json", "short_demo.json"])
def test_a_document_refers_only_to_what_it_holds(name: str, tmp_path: Path) -> None:
    demo = json.loads(document(name).read_text())
    schedules = {s["name"] for s in demo["schedules"]}
    environments = {e["name"] for e in demo["environments"]}
    scripts = {f"{s['package_name']}=={s['package_version']}" for s in demo["scripts"]}
    topics = {t["name"] for t in demo.get("topics", [])}
    for job in demo["jobs"]:
        for context in job["contexts"]:
            assert context["env"] in environments
            assert context["script"] in scripts
            assert set(context.get("schedules", ())) <= schedules
    for script in demo["scripts"]:
        assert {*script["sources"], *script["destinations"]} <= topics
    built = {wheel.name for wheel in build_wheels(tmp_path)}
    wanted = {f"{s.replace('-', '_').replace('==', '-')}-py3-none-any.whl" for s in scripts}
    assert wanted <= built


def test_the_demo_has_two_versions_of_the_sensor_live() -> None:
    jobs = {job["name"]: job for job in json.loads(document("demo.json").read_text())["jobs"]}
    live = {c["env"]: c["script"] for c in jobs["weather-sensor"]["contexts"]}
    assert live == {"prod": "weather-sensor==1.0.0", "test": "weather-sensor==1.1.0"}
