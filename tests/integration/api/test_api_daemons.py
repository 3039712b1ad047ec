"""Daemons over REST: how they are, and a new start."""

from kirby_scheduler.loops.arbiter import arbitrate

from tests.integration.api.conftest import Served
from tests.integration.ledger.world import World


async def test_a_daemon_from_its_start_to_a_restart(served: Served) -> None:
    world = World(served.parts.engine)
    worker = await world.worker()
    context = await world.context(job="agg", type="daemon", group="g")
    await world.context(job="nightly")
    (waiting,) = (await served.viewer.get("/daemons")).json()["items"]
    assert (waiting["health"], waiting["reason"]) == ("down", "0 of 1 replicas have been begun")
    for _ in range(2):
        await arbitrate(await world.term(), lease_s=20, offers_prefix="offers")
        for grant in await worker.claim():
            await worker.start(grant)
    daemon = (await served.viewer.get(f"/daemons/{context}")).json()
    told = {"job": "agg", "env": "prod", "health": "healthy", "live": 1, "wanted": 1, "version": "1.0", "lag": None}
    assert told.items() <= daemon.items()
    (slot,) = daemon["slots"]
    assert {"slot": 0, "state": "UP", "generation": 1, "worker": "w1", "restarts": 0}.items() <= slot.items()
    asked = {"job": "agg", "env": "prod"}
    assert (await served.viewer.post("/daemons/restart", json=asked)).status_code == 403
    assert (await served.admin.post("/daemons/restart", json=asked)).status_code == 202
    await arbitrate(await world.term(), lease_s=20, offers_prefix="offers")
    (slot,) = (await served.viewer.get(f"/daemons/{context}")).json()["slots"]
    assert (slot["generation"], slot["old_run_id"]) == (2, daemon["slots"][0]["run_id"])
    refused = await served.admin.post("/daemons/restart", json={**asked, "slot": 7})
    assert (refused.status_code, "has no replica 7 to restart" in refused.json()["detail"]) == (409, True)


async def test_what_is_no_daemon(served: Served) -> None:
    world = World(served.parts.engine)
    context = await world.context(job="nightly")
    assert (await served.viewer.get(f"/daemons/{context}")).status_code == 404
    refused = await served.admin.post("/daemons/restart", json={"job": "nightly", "env": "prod"})
    assert (refused.status_code, refused.json()["detail"].split(":")[0]) == (409, "nightly in prod is not a daemon")
