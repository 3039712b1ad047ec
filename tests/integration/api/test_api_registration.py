"""A script registers what it reads and writes, with its run's token and nothing more."""

import asyncio
from uuid import UUID, uuid4

import httpx2
import kirby
import pytest
from kirby import registration
from kirby_common import assertions
from kirby_common.ledger.tables import Script, Topic
from sqlalchemy import text

from tests.integration.api.conftest import Served
from tests.integration.api.recorded_runs import started_run


def token_of(served: Served, run_id: UUID) -> str:
    key = served.parts.settings.secret_key.get_secret_value()
    return assertions.issue({"run_id": str(run_id)}, key=key, audience=assertions.RUN, ttl_s=60)


async def a_run_of(served: Served, script: UUID) -> UUID:
    run_id = await started_run(served.parts)
    async with served.parts.sessions.begin() as db:
        await db.execute(text("UPDATE runs SET script_id = :s WHERE id = :r"), {"s": script, "r": run_id})
    return run_id


async def test_a_script_tells_what_it_reads_and_writes(
    served: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async with served.parts.sessions.begin() as db:
        mine = Script(package_name="weather", package_version="1.0")
        others = Script(package_name="other", package_version="1.0")
        db.add_all([mine, others, Topic(name="weather.raw")])
        await db.flush()
        mine_id, others_id = mine.id, others.id
    token = token_of(served, await a_run_of(served, mine_id))
    for name, value in {"KIRBY_URL": served.url, "ID": str(mine_id), "KIRBY_TOKEN": token}.items():
        monkeypatch.setenv(name, value)
    app = kirby.Kirby()
    await asyncio.to_thread(app.add_source, kirby.Topic("weather.raw"))
    await asyncio.to_thread(app.add_destination, "weather.unknown")
    assert "'weather.unknown' is not registered" in capfd.readouterr().err
    scripts = (await served.admin.get("/scripts")).json()["items"]
    assert {s["package_name"]: s["sources"] for s in scripts} == {"weather": ["weather.raw"], "other": []}
    with pytest.raises(registration.Refused, match="its own script only"):
        await asyncio.to_thread(registration.register, str(others_id))


async def test_a_run_token_opens_nothing_else(served: Served) -> None:
    token = token_of(served, await a_run_of(served, uuid4()))
    async with httpx2.AsyncClient(base_url=served.url, headers={"Authorization": f"Bearer {token}"}) as script:
        for path in ("/schedule", "/api/v1/runs", "/api/v1/scripts", "/api/v1/users"):
            assert (await script.get(path)).status_code == 401, path
        assert (await script.get("/topic", params={"name": "nowhere"})).status_code == 404
        forged = {"Authorization": f"Bearer {token[:-2]}xx"}
        assert (await script.get("/topic", params={"name": "nowhere"}, headers=forged)).status_code == 401
