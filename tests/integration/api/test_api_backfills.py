"""Backfills over REST: preview, start, orders, and what is refused."""

from datetime import UTC, datetime, timedelta

from kirby_common.topics import DEFAULT_OFFERS_PREFIX
from kirby_scheduler.loops.backfill import fill

from tests.integration.api.conftest import Served
from tests.integration.ledger.world import World

HOUR = timedelta(hours=1)
END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)


def wanted(hours: int, **more: object) -> dict[str, object]:
    return {"job": "hello", "env": "prod", "from": (END - hours * HOUR).isoformat(), "to": END.isoformat(), **more}


async def passed(world: World) -> None:
    await fill(await world.term(), offers_prefix=DEFAULT_OFFERS_PREFIX)


async def test_a_backfill_from_its_preview_to_its_end(served: Served) -> None:
    world = World(served.parts.engine)
    await world.context(every=HOUR)
    preview = (await served.admin.post("/backfills/preview", json=wanted(120))).json()
    assert (preview["total"], preview["to_run"], preview["left_alone"]) == (120, 120, 0)
    assert [len(preview["first"]), len(preview["last"])] == [50, 50]
    assert datetime.fromisoformat(preview["last"][-1]["due_at"]) == END - HOUR
    key = {"Idempotency-Key": "once"}
    made = (await served.admin.post("/backfills", json=wanted(3, concurrency=2), headers=key)).json()
    assert (await served.admin.post("/backfills", json=wanted(3, concurrency=2), headers=key)).json() == made
    assert (made["state"], made["requested_by"], made["waiting"]) == ("running", "ada", 3)
    worker = await world.worker()
    for _ in range(3):
        await passed(world)
        for grant in await worker.claim():
            await worker.start(grant)
            await worker.end(grant)
    await passed(world)
    ended = (await served.viewer.get(f"/backfills/{made['id']}")).json()
    assert (ended["state"], ended["counts"], ended["waiting"]) == ("done", {"SUCCEEDED": 3}, 0)
    listed = (await served.viewer.get("/runs", params={"backfill": made["id"]})).json()["items"]
    assert {run["backfill_id"] for run in listed} == {made["id"]}
    assert len(listed) == 3
    again = (await served.admin.post("/backfills/preview", json=wanted(4))).json()
    assert [due["runs"] for due in again["first"]] == [True, False, False, False]
    assert again["first"][1]["status"] == "SUCCEEDED"
    assert again["to_run"] == 1


async def test_orders_and_their_refusals(served: Served) -> None:
    world = World(served.parts.engine)
    await world.context(every=HOUR)
    made = (await served.admin.post("/backfills", json=wanted(10))).json()
    one = f"/backfills/{made['id']}"
    assert (await served.viewer.post(f"{one}/pause")).status_code == 403
    paused = (await served.admin.post(f"{one}/pause", json={"reason": "later"})).json()
    assert (paused["state"], paused["reason"], paused["changed_by"]) == ("paused", "paused by ada: later", "ada")
    refused = await served.admin.post(f"{one}/pause")
    assert (refused.status_code, refused.json()["state"]) == (409, "paused")
    assert (await served.admin.post(f"{one}/resume")).json()["state"] == "running"
    await passed(world)
    cancelled = (await served.admin.post(f"{one}/cancel", json={"kill": True})).json()
    assert (cancelled["state"], cancelled["waiting"]) == ("cancelled", 0)
    assert (await served.admin.post(f"{one}/cancel")).status_code == 409
    listed = (await served.viewer.get("/backfills", params={"state": "cancelled", "job": "hello"})).json()["items"]
    assert [b["id"] for b in listed] == [made["id"]]
    assert (await served.admin.get("/backfills/00000000-0000-0000-0000-000000000000")).status_code == 404


async def test_what_can_not_be_backfilled_is_told_in_a_sentence(served: Served) -> None:
    world = World(served.parts.engine)
    await world.context(every=timedelta(seconds=1))
    await world.context(job="manual")
    too_many = await served.admin.post("/backfills", json=wanted(300))
    assert (too_many.status_code, "1,080,000 due times" in too_many.json()["detail"]) == (422, True)
    future = wanted(1) | {"to": (datetime.now(UTC) + HOUR).isoformat()}
    assert "ends in the future" in (await served.admin.post("/backfills", json=future)).json()["detail"]
    assert (await served.admin.post("/backfills", json=wanted(0))).status_code == 422
    assert (await served.admin.post("/backfills", json=wanted(1) | {"job": "manual"})).status_code == 409
    assert (await served.admin.post("/backfills", json=wanted(1) | {"concurrency": 0})).status_code == 422
    assert await world.sql("SELECT id FROM backfills") == []
