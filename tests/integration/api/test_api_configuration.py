"""CRUD of the configured things: shapes, names, references, ETags, revisions, and what is told on `.kirby.config`."""

from typing import Any

import httpx2
import pytest


async def made(api: httpx2.AsyncClient, path: str, **form: Any) -> dict[str, Any]:
    answer = await api.post(path, json=form)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def refused(api: httpx2.AsyncClient, path: str, status: int, **form: Any) -> str:
    answer = await api.post(path, json=form)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


async def weather(api: httpx2.AsyncClient) -> dict[str, Any]:
    await made(api, "/environments", name="prod")
    await made(api, "/jobs", name="weather", namespace="demo")
    return await made(api, "/contexts", job="weather", env="prod")


async def test_every_kind_goes_round(api: httpx2.AsyncClient) -> None:
    await weather(api)
    await made(api, "/topics", name="weather.raw", description="hourly")
    await made(api, "/schedules", name="often", every="10s")
    await made(api, "/scripts", package_name="Weather_Sensor", package_version="1.0", destinations=["weather.raw"])
    await made(api, "/limits", name="db", places=3)
    await made(api, "/notification-groups", name="ops", webhooks=["https://example.org/hook"])
    await made(api, "/notifications", job="weather", env="prod", group="ops")
    await made(api, "/config-keys", name="A", value="1")
    await made(api, "/config-keys", name="A", value="2", job="weather")
    await made(api, "/config-keys", name="A", value="3", job="weather", env="prod")
    start, end = "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z"
    await made(api, "/exceptions", scope="job", target="weather", start=start, end=end, reason="holiday")

    for path, count in {
        "/environments": 1, "/jobs": 1, "/contexts": 1, "/topics": 1, "/schedules": 1, "/scripts": 1,
        "/limits": 1, "/notification-groups": 1, "/notifications": 1, "/config-keys": 3, "/exceptions": 1,
    }.items():  # fmt: skip
        page = (await api.get(path)).json()
        assert len(page["items"]) == count, path
        assert page["next"] is None
        one = (await api.get(f"{path}/{page['items'][0]['id']}")).json()
        assert one == page["items"][0]
    job = (await api.get("/jobs/weather")).json()
    assert job["contexts"][0]["env"] == "prod"
    assert (await api.get("/scripts/weather-sensor@1.0")).json()["destinations"] == ["weather.raw"]
    assert (await api.get("/schedules/often")).json()["every"] == "10s"


async def test_a_name_may_hold_slashes(api: httpx2.AsyncClient) -> None:
    await made(api, "/jobs", name="adhoc/hello.py")
    assert (await api.get("/jobs/adhoc/hello.py")).json()["name"] == "adhoc/hello.py"
    assert (await api.get("/jobs/adhoc%2Fhello.py")).json()["name"] == "adhoc/hello.py"
    assert (await api.get("/jobs/adhoc/hello.py/revisions")).json()["items"][0]["author"] == "ada"


async def test_a_change_is_a_revision_and_needs_the_newest_etag(api: httpx2.AsyncClient) -> None:
    await made(api, "/environments", name="test")
    first = await api.get("/environments/test")
    changed = await api.patch("/environments/test", json={"paused": True, "pause_reason": "moving"},
                              headers={"If-Match": first.headers["etag"]})  # fmt: skip
    assert changed.json()["paused"] is True
    assert changed.headers["etag"] == '"2"'
    stale = await api.patch("/environments/test", json={"paused": False}, headers={"If-Match": first.headers["etag"]})
    assert stale.status_code == 412
    history = (await api.get("/environments/test/revisions")).json()["items"]
    assert [(r["rev"], r["action"], r["author"]) for r in history] == [(2, "update", "ada"), (1, "create", "ada")]
    assert (await api.delete("/environments/test")).status_code == 204
    assert (await api.get("/environments/test")).status_code == 404


async def test_pages_follow_each_other(api: httpx2.AsyncClient) -> None:
    for n in range(5):
        await made(api, "/topics", name=f"t{n}")
    names: list[str] = []
    cursor = None
    while True:
        page = (await api.get("/topics", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        names += [item["name"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert names == [f"t{n}" for n in range(5)]
    assert (await api.get("/topics", params={"cursor": "nonsense"})).status_code == 422


@pytest.mark.parametrize(
    ("path", "form", "status", "says"),
    [
        ("/config-keys", {"name": "A=B", "value": "1"}, 422, "can't hold = or NUL"),
        ("/config-keys", {"name": "A\0", "value": "1"}, 422, "can't hold = or NUL"),
        ("/config-keys", {"name": "", "value": "1"}, 422, "needs a name"),
        ("/config-keys", {"name": "A", "value": "x\0"}, 422, "can't hold NUL"),
        ("/config-keys", {"name": "A", "value": "1", "job": "nope"}, 422, "there is no job 'nope'"),
        ("/config-keys", {"name": "A", "value": "1", "env": "prod"}, 422, "also needs the job"),
        ("/environments", {"name": "prod"}, 409, "environment 'prod' exists"),
        ("/jobs", {"name": "weather"}, 409, "job 'weather' exists"),
        ("/jobs", {"name": "x", "type": "sometimes"}, 422, "type"),
        ("/jobs", {"name": "x", "typo": 1}, 422, "typo"),
        ("/jobs", {"name": "x", "policies": {"overlap": "maybe"}}, 422, "overlap"),
        ("/jobs", {"name": "x", "policies": {"retries": 3}}, 422, "retries"),
        ("/jobs", {"name": "x", "policies": {"limits": "db, no"}}, 422, "there is no limit 'db'; add it first"),
        ("/jobs", {"name": "x", "policies": {"concurrency": 2}}, 422, "concurrency needs overlap allow"),
        ("/jobs", {"name": "x", "policies": {"jitter": "-1s"}}, 422, "jitter"),
        ("/jobs", {"name": "x", "policies": {"retry": {"on_lost": True}}}, 422, "nobody knows whether the script ran"),
        ("/limits", {"name": "x", "places": -1}, 422, "places"),
        ("/limits", {"name": "x", "places": 1, "key": "customer"}, 422, "a key is job, env"),
        ("/jobs", {"name": "x", "group": "g"}, 422, "only a daemon has a group"),
        ("/schedules", {"name": "s", "cron": "61 * * * *"}, 422, "61"),
        ("/schedules", {"name": "s", "cron": "every day"}, 422, "every day"),
        ("/schedules", {"name": "s", "cron": "0 0 30 2 *"}, 422, "never"),
        ("/schedules", {"name": "s", "cron": "0 0 * * *", "tz": "Mars/Olympus"}, 422, "Mars/Olympus"),
        ("/schedules", {"name": "s", "at": "2020-01-01T00:00:00Z"}, 422, "never fire"),
        ("/schedules", {"name": "s", "every": "soon"}, 422, "not a duration"),
        ("/schedules", {"name": "s"}, 422, "one of cron, every or at"),
        ("/schedules", {"name": "s", "every": "1m", "cron": "* * * * *"}, 422, "not cron and every"),
        ("/scripts", {"package_name": "a", "package_version": "==1.0"}, 422, "give the version alone, for example 1.0"),
        ("/scripts", {"package_name": "a", "package_version": "1", "sources": ["no"]}, 422, "there is no topic 'no'"),
        ("/contexts", {"job": "weather", "env": "prod"}, 409, "is in environment 'prod' already"),
        ("/contexts", {"job": "weather", "env": "moon"}, 422, "there is no environment 'moon'"),
        ("/notification-groups", {"name": "g", "webhooks": ["ftp://x"]}, 422, "not a webhook"),
        ("/notifications", {"job": "weather", "env": "prod", "group": "no"}, 422, "no notification group 'no'"),
        ("/topics", {"name": "a b"}, 422, "a topic's name"),
    ],
)  # fmt: skip
async def test_bad_input_is_one_sentence_and_changes_nothing(
    shared_api: httpx2.AsyncClient, path: str, form: dict[str, Any], status: int, says: str
) -> None:
    api = shared_api
    if not (await api.get("/contexts")).json()["items"]:
        await weather(api)
    before = (await api.get(path)).json()
    assert says in await refused(api, path, status, **form)
    assert (await api.get(path)).json() == before


async def test_a_limit_says_who_names_it_and_stays_while_it_is_named(api: httpx2.AsyncClient) -> None:
    await weather(api)
    await made(api, "/limits", name="db", places=1)
    assert (await api.patch("/jobs/weather", json={"policies": {"limits": ["db"]}})).status_code == 200
    limit = (await api.get("/limits/db")).json()
    assert (limit["taken"], limit["waiting"], limit["jobs"]) == (0, 0, ["weather"])
    answer = await api.delete("/limits/db")
    assert (answer.status_code, "weather names it" in answer.json()["detail"]) == (409, True)
    refusal = await api.patch("/contexts/weather@prod", json={"policies": {"overlap": "skip", "concurrency": 2}})
    assert refusal.json()["detail"] == "policies: concurrency needs overlap allow: with skip one runs at a time anyway"
    assert (await api.patch("/jobs/weather", json={"policies": {}})).status_code == 200
    assert (await api.delete("/limits/db")).status_code == 204


async def test_a_job_comes_after_others_and_a_circle_is_named(api: httpx2.AsyncClient) -> None:
    for name in ("extract", "load"):
        await made(api, "/jobs", name=name)
    report = await made(api, "/jobs", name="report", after=["load:done", "extract:success"])
    assert (report["after"], report["successors"]) == (["extract", "load:done"], [])
    assert (await api.patch("/jobs/load", json={"after": ["extract:failure"]})).json()["after"] == ["extract:failure"]
    assert (await api.get("/jobs/extract")).json()["successors"] == ["load:failure", "report"]
    for path, after, says in (
        ("/jobs/extract", ["report"], "report → extract is a circle"),
        ("/jobs/load", ["load"], "load → load is a circle"),
        ("/jobs/load", ["nobody"], "there is no job 'nobody'"),
        ("/jobs/load", ["extract:sometimes"], "write JOB, JOB:success, JOB:failure or JOB:done"),
    ):
        answer = await api.patch(path, json={"after": after})
        assert (answer.status_code, says in answer.json()["detail"]) == (422, True), answer.text
    await made(api, "/jobs", name="server", type="daemon")
    assert "is a daemon and has no end" in await refused(api, "/jobs", 422, name="x", after=["server"])
    answer = await api.delete("/jobs/extract")
    assert (answer.status_code, "load comes after it" in answer.json()["detail"]) == (409, True)
    assert (await api.patch("/jobs/load", json={"after": []})).json()["after"] == []
    assert (await api.get("/jobs/extract")).json()["successors"] == ["report"]


async def test_references_hold_things_in_place(api: httpx2.AsyncClient) -> None:
    await weather(api)
    await made(api, "/schedules", name="often", every="10s")
    assert (await api.patch("/contexts/weather@prod", json={"schedules": ["often"]})).status_code == 200
    for path, says in (("/schedules/often", "used by weather@prod"), ("/environments/prod", "used by weather")):
        answer = await api.delete(path)
        assert answer.status_code == 409
        assert says in answer.json()["detail"]
    assert (await api.delete("/jobs/weather")).status_code == 204
    assert (await api.get("/contexts")).json()["items"] == []
