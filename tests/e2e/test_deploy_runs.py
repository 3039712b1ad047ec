"""The compose file's services on real stores, by their own commands, variables and health checks."""

import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.e2e.compose_file import KIRBY_SERVICES
from tests.e2e.composed import BIN, Composed
from tests.eventually import eventually_sync


@pytest.mark.parametrize("service", [*KIRBY_SERVICES, "index"])
def test_a_service_becomes_healthy(composed: Composed, service: str) -> None:
    composed.await_healthy(service)


def test_the_sdk_goes_to_the_index_once(composed: Composed) -> None:
    service = composed.compose["services"]["sdk"]
    (composed.folder / "wheels" / "kirby-0-py3-none-any.whl").write_text("first")
    command = [*service["entrypoint"], composed.here(service["command"][0]).replace("$$", "$")]
    subprocess.run(command, check=True)
    placed = composed.folder / "packages" / "kirby-0-py3-none-any.whl"
    assert placed.read_text() == "first"
    (composed.folder / "wheels" / placed.name).write_text("second")
    subprocess.run(command, check=True)
    assert placed.read_text() == "first"
    placed.unlink()


def test_a_script_runs_through_all_of_them(composed: Composed) -> None:
    token = composed.api_token()
    kirby = [str(BIN / "kirby"), "demo", "--json_file_path", str(short_demo())]
    done = subprocess.run(kirby, env=composed.environment("api"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("demo data inserted in the database\n")
    base = f"http://127.0.0.1:{composed.ports['api']}/api/v1"
    with httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=90) as client:
        eventually_sync(
            lambda: client.get("/contexts/prime-sieve@prod").json()["state"] == "enabled",
            timeout=60,
            what="the sieve's version locked",
        )
        run = client.post("/runs", params={"wait": "60"}, json={"job": "prime-sieve", "env": "prod"}).json()
        assert run["status"] == "SUCCEEDED", run
        eventually_sync(lambda: client.get(f"/runs/{run['run_id']}").json()["log"]["complete"], what="its log")
        text = client.get(f"/runs/{run['run_id']}/logs", params={"format": "text"}).text
    assert "664579 primes below 10000000" in text


def short_demo() -> Path:
    from kirby_api.demo.wheels import document

    return document("short_demo.json")
