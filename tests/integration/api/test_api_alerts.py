"""Alerts over REST: those that last, those that are over."""

from datetime import timedelta

from kirby_common.ledger.alerts import AlertKind, Condition, settle
from kirby_common.ledger.materialise import database_now

from tests.integration.api.conftest import Served

DAY = timedelta(days=1)
STALE = Condition(AlertKind.TOPIC_STALE, "topic/weather.raw@prod", "no message since noon", env="prod")
LEADER = Condition(AlertKind.NO_LEADER, "suite/leader", "no scheduler leads")
NOT_YET = Condition(AlertKind.POOL_EMPTY, "pool/gpu", "no live worker in pool gpu", grace=DAY)


async def seen(served: Served, *conditions: Condition) -> None:
    async with served.parts.engine.begin() as tx:
        await settle(tx, conditions, kinds=list(AlertKind), now=await database_now(tx), source="test")


async def subjects(served: Served, **query: object) -> list[str]:
    answer = await served.viewer.get("/alerts", params=query)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return [item["subject"] for item in answer.json()["items"]]


async def test_what_lasts_and_what_is_over(served: Served) -> None:
    assert await subjects(served) == []
    await seen(served, STALE, LEADER, NOT_YET)
    assert set(await subjects(served)) == {STALE.subject, LEADER.subject}
    await seen(served, STALE)
    assert await subjects(served) == [STALE.subject]
    assert await subjects(served, state="closed") == [LEADER.subject]
    assert await subjects(served, state="all", kind="topic_stale", env="prod") == [STALE.subject]
    assert await subjects(served, state="all", job="weather") == []


async def test_pages_of_alerts(served: Served) -> None:
    await seen(served, STALE, LEADER)
    first = (await served.viewer.get("/alerts", params={"limit": 1})).json()
    second = (await served.viewer.get("/alerts", params={"limit": 1, "cursor": first["next"]})).json()
    assert {first["items"][0]["subject"], second["items"][0]["subject"]} == {STALE.subject, LEADER.subject}
    assert second["next"] is None
    wrong = await served.viewer.get("/alerts", params={"cursor": first["next"][:-6] + "AAAAAA"})
    assert wrong.status_code == 422
