"""Exceptions over REST: what is refused, what their view says of now, and what a preview foresees."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from kirby_common.ledger.tables import Context
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

START, END = "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z"
PAUSE: dict[str, Any] = {"scope": "job", "target": "weather", "start": START, "end": END, "reason": "holiday"}


@pytest.fixture
async def weather(api: httpx2.AsyncClient, ledger_engine: AsyncEngine) -> None:
    """A job that is enabled and due each minute."""
    forms: list[tuple[str, dict[str, Any]]] = [
        ("/environments", {"name": "prod"}),
        ("/jobs", {"name": "weather", "namespace": "demo", "labels": {"team": "a"}}),
        ("/schedules", {"name": "minutely", "cron": "* * * * *"}),
        ("/contexts", {"job": "weather", "env": "prod", "schedules": ["minutely"]}),
    ]
    for path, form in forms:
        answer = await api.post(path, json=form)
        assert answer.status_code == 201, answer.text
    async with ledger_engine.begin() as tx:
        await tx.execute(update(Context).values(state="enabled"))


async def made(api: httpx2.AsyncClient, **form: Any) -> dict[str, Any]:
    answer = await api.post("/exceptions", json=PAUSE | form)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def foreseen(api: httpx2.AsyncClient, **form: Any) -> dict[str, Any]:
    answer = await api.post("/exceptions/preview", json={k: v for k, v in PAUSE.items() if k != "reason"} | form)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"start": END, "end": START}, "end after it starts"),
    ({"end": None}, "pause for ever; give it an end, or confirm"),
    ({"end": None, "recurrence": "0 * * * *", "lasts": "1h"}, "pause for ever"),
    ({"recurrence": "0 * * * *", "lasts": "2h"}, "opens again before it closes"),
    ({"recurrence": "0 * * * *"}, "how long it lasts"),
    ({"lasts": "2h"}, "when it opens"),
    ({"recurrence": "30 2 31 2 *", "lasts": "2h"}, "recurrence: '30 2 31 2 *' never fires"),
    ({"recurrence": "0 0 1 6 *", "lasts": "2h"}, "never opens between"),
    ({"effect": "slow"}, "needs every_nth or cron"),
    ({"effect": "slow", "every_nth": 2, "cron": "* * * * *"}, "only one of them"),
    ({"effect": "slow", "cron": "every day"}, "cron: 'every day'"),
    ({"every_nth": 2}, "say slow to slow down"),
    ({"tz": "Mars/Olympus"}, "tz: 'Mars/Olympus' is not a time zone"),
    ({"target": "rain"}, "there is no job 'rain'"),
]


@pytest.mark.usefixtures("weather")
async def test_what_can_not_be_meant_is_refused(api: httpx2.AsyncClient) -> None:
    for form, words in REFUSED:
        for path in ("/exceptions", "/exceptions/preview"):
            answer = await api.post(path, json=PAUSE | form)
            assert answer.status_code == 422, answer.text
            assert words in answer.json()["detail"]
    nameless = await api.post("/exceptions", json=PAUSE | {"reason": ""})
    assert nameless.status_code == 422


@pytest.mark.usefixtures("weather")
async def test_its_view_says_what_it_does_now(api: httpx2.AsyncClient) -> None:
    now = datetime.now(UTC)
    assert (await made(api))["state"] == "upcoming"
    goes_on = await made(api, start=(now - timedelta(hours=1)).isoformat())
    assert (goes_on["state"], goes_on["closes_at"]) == ("active", END)
    over = await made(api, start="2020-01-01T00:00:00Z", end="2020-01-02T00:00:00Z")
    assert (over["state"], over["opens_at"]) == ("over", None)
    weekly = await made(api, end=None, recurrence="0 2 * * 0", lasts="3h", tz="Europe/Brussels")
    assert (weekly["opens_at"], weekly["closes_at"]) == ("2030-01-06T01:00:00Z", "2030-01-06T04:00:00Z")
    assert (weekly["recurrence"], weekly["lasts"], weekly["tz"]) == ("0 2 * * 0", "3h", "Europe/Brussels")


@pytest.mark.usefixtures("weather")
async def test_a_pause_without_an_end_is_confirmed_once(api: httpx2.AsyncClient) -> None:
    endless = await made(api, end=None, for_ever=True)
    path = f"/exceptions/{endless['id'][:8]}"
    assert (await api.patch(path, json={"reason": "still"})).status_code == 200
    assert (await api.patch(path, json={"end": END})).status_code == 200
    assert (await api.patch(path, json={"end": None})).status_code == 422
    changed = await api.patch(path, json={"recurrence": "0 2 * * *", "lasts": "90m", "tz": "UTC"})
    assert changed.json()["lasts"] == "1h30m"


@pytest.mark.usefixtures("weather")
async def test_a_preview_marks_what_it_would_skip_and_saves_nothing(api: httpx2.AsyncClient) -> None:
    seen = await foreseen(api, effect="slow", every_nth=5)
    assert seen["contexts"] == 1
    assert [d["outcome"] for d in seen["due"]] == ["runs", *["skipped"] * 4] * 10
    assert seen["due"][0]["at"] == START
    assert {(d["job"], d["env"]) for d in seen["due"]} == {("weather", "prod")}
    assert {d["this"] for d in seen["due"] if d["outcome"] == "skipped"} == {True}
    assert (await api.get("/exceptions")).json()["items"] == []


@pytest.mark.usefixtures("weather")
async def test_a_preview_knows_the_exceptions_that_are_there(api: httpx2.AsyncClient) -> None:
    there = await made(api, scope="label", target="team=a", effect="slow", every_nth=2)
    seen = await foreseen(api, start="2030-01-01T00:03:00Z", end="2030-01-01T00:05:00Z", n=8, **{"from": "2030-01-01"})
    assert [(d["outcome"], d["this"], d["exception"]) for d in seen["due"]] == [
        ("skipped", False, there["id"]), ("runs", False, None), ("skipped", True, None), ("skipped", True, None),
        ("skipped", False, there["id"]), ("runs", False, None), ("skipped", False, there["id"]),
        ("runs", False, None),
    ]  # fmt: skip
    assert "by ada: holiday" in seen["due"][0]["reason"]
    edited = await foreseen(
        api, scope="label", target="team=a", effect="slow", cron="30/10 * * * * *", n=4, replaces=there["id"],
        **{"from": "2030-01-01"},
    )  # fmt: skip
    assert [(d["at"][11:19], d["outcome"]) for d in edited["due"]] == [
        ("00:00:30", "added"), ("00:00:40", "added"), ("00:00:50", "added"), ("00:01:00", "skipped"),
    ]  # fmt: skip


@pytest.mark.usefixtures("weather")
async def test_a_preview_tells_when_a_run_with_jitter_is_to_start(api: httpx2.AsyncClient) -> None:
    plain = await foreseen(api, effect="slow", every_nth=5, n=3)
    assert all(due["fire_at"] == due["at"] for due in plain["due"])
    changed = await api.patch("/jobs/weather", json={"policies": {"jitter": "30s"}})
    assert changed.status_code == 200, changed.text
    seen = await foreseen(api, effect="slow", every_nth=5, n=3)
    later = [datetime.fromisoformat(d["fire_at"]) - datetime.fromisoformat(d["at"]) for d in seen["due"]]
    assert all(timedelta(0) < by < timedelta(seconds=30) for by in later)
    assert len(set(later)) == 3
