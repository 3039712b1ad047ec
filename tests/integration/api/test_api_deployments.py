"""Deployments and runs: upserts, what a bad package leaves behind, triggers, and keys that count once."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from kirby_common.ledger import locks
from sqlalchemy import text

from tests.eventually import eventually
from tests.integration.api.conftest import Served

HELLO = {"job": "hello", "env": "prod", "package_name": "hello", "package_version": "1.0"}


@pytest.fixture
async def resolver(served: Served) -> AsyncIterator[dict[str, str]]:
    """Answers wanted locks as a worker does: with the sentence given for the package, or a lock."""
    bad: dict[str, str] = {}

    async def work() -> None:
        while True:
            # In two transactions, as a worker does: the second begins with the rules gate.
            async with served.parts.sessions.begin() as db:
                wanted = await locks.claim(db, worker="w")
            if wanted is not None:
                error = bad.get(wanted.package_name)
                found = None if error else "hello==1.0"
                async with served.parts.sessions.begin() as db:
                    await locks.resolved(
                        db, wanted.id, lock_text=found, requires_python=None, error=error, transient=False
                    )
            await asyncio.sleep(0.02)

    task = asyncio.create_task(work())
    yield bad
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def deployed(api: httpx2.AsyncClient, wait: int = 20, **form: Any) -> dict[str, Any]:
    answer = await api.post("/deployments", params={"wait": wait}, json={**HELLO, **form})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_one_request_deploys_everything(api: httpx2.AsyncClient, resolver: dict[str, str]) -> None:
    first = await deployed(api, schedule={"every": "10s"}, variables={"A": "1"}, labels={"team": "x"}, args=["-v"])
    assert first["created"] == ["environment", "job", "schedule", "context", "script", "config-key"]
    context = first["context"]
    assert (context["state"], context["schedules"], context["args"]) == ("enabled", ["hello@prod"], ["-v"])
    assert context["next_due_at"] is not None
    second = await deployed(api, package_version="1.1", variables={"A": "2"}, policies={"retry": {"attempts": 3}})
    assert second["created"] == ["script"]
    assert second["context"]["script"]["package_version"] == "1.1"
    assert second["context"]["schedules"] == ["hello@prod"]
    assert second["context"]["policies"]["retry"]["attempts"] == 3
    assert [k["value"] for k in (await api.get("/config-keys")).json()["items"]] == ["2"]
    assert len((await api.get("/scripts", params={"package_name": "hello"})).json()["items"]) == 2
    third = await deployed(api, package_version="1.1", schedule={"cron": "0 4 * * *", "tz": "Europe/Brussels"})
    assert third["created"] == []
    schedule = (await api.get("/schedules/hello@prod")).json()
    assert (schedule["kind"], schedule["expr"], schedule["every"]) == ("cron", "0 4 * * *", None)


@pytest.mark.parametrize(
    ("form", "status", "says"),
    [
        ({"package_name": "nope"}, 422, "no package named nope"),
        ({"package_version": "==1.0"}, 422, "give the version alone, for example 1.0"),
        ({"schedule": {"cron": "61 * * * *"}}, 422, "61"),
        ({"schedule": {"cron": "* * * * *", "tz": "Nowhere/At-all"}}, 422, "Nowhere"),
        ({"type": "daemon", "schedule": {"every": "1m"}}, 422, "has no schedule"),
        ({"variables": {"A=B": "1"}}, 422, "can't hold = or NUL"),
        ({"policies": {"overlap": "sometimes"}}, 422, "overlap"),
        ({"env": "not/an/env"}, 422, "env"),
    ],
)
async def test_a_bad_deployment_leaves_nothing_behind(
    served: Served, resolver: dict[str, str], form: dict[str, Any], status: int, says: str
) -> None:
    resolver["nope"] = "there is no package named nope on the index"
    answer = await served.admin.post("/deployments", params={"wait": 20}, json={**HELLO, **form})
    assert answer.status_code == status
    assert says in answer.json()["detail"]
    async with served.parts.sessions() as db:
        for table in ("environments", "jobs", "contexts", "scripts", "schedules", "config_keys", "locks", "revisions"):
            assert await db.scalar(text(f"SELECT count(*) FROM {table}")) == 0, table


async def test_without_wait_the_context_says_what_it_waits_for(served: Served) -> None:
    answer = await deployed(served.admin, wait=0)
    context = answer["context"]
    assert (context["state"], context["state_reason"]) == ("enabling", "no lock yet: being resolved")
    assert answer["script"]["lock"] == {"status": "wanted", "error": None}


async def test_a_job_type_stays_while_something_lives(served: Served, resolver: dict[str, str]) -> None:
    api = served.admin
    await deployed(api)
    run = (await api.post("/runs", json={"job": "hello", "env": "prod"})).json()
    for answer in (
        await api.patch("/jobs/hello", json={"type": "daemon"}),
        await api.post("/deployments", json={**HELLO, "type": "daemon"}),
        await api.delete("/jobs/hello"),
    ):
        assert answer.status_code == 409
        assert f"run {run['run_id']} in prod is PENDING" in answer.json()["detail"]
    assert (await api.post(f"/runs/{run['run_id']}/cancel", json={})).status_code == 200
    assert (await api.patch("/jobs/hello", json={"type": "daemon"})).json()["type"] == "daemon"


async def test_a_job_with_a_schedule_is_no_daemon(served: Served, resolver: dict[str, str]) -> None:
    await deployed(served.admin, schedule={"every": "1h"})
    answer = await served.admin.post("/deployments", json={**HELLO, "type": "daemon"})
    assert (answer.status_code, "take it off first" in answer.json()["detail"]) == (409, True)


async def test_runs_are_triggered_once_per_key(api: httpx2.AsyncClient, resolver: dict[str, str]) -> None:
    await deployed(api)
    form = {"job": "hello", "env": "prod", "args": ["a"], "variables": {"X": "1"}}
    first = await api.post("/runs", json=form, headers={"Idempotency-Key": "k1"})
    assert (first.status_code, first.json()["status"], first.json()["kind"]) == (202, "PENDING", "manual")
    again = await api.post("/runs", json=form, headers={"Idempotency-Key": "k1"})
    assert again.json()["run_id"] == first.json()["run_id"]
    other = await api.post("/runs", json=form)
    assert other.json()["run_id"] != first.json()["run_id"]
    listed = (await api.get("/runs", params={"job": "hello", "status": "pending,running", "limit": 1})).json()
    assert listed["items"][0]["run_id"] == other.json()["run_id"]
    rest = (await api.get("/runs", params={"limit": 1, "cursor": listed["next"]})).json()
    assert (rest["items"][0]["run_id"], rest["next"]) == (first.json()["run_id"], None)
    cancelled = (await api.post(f"/runs/{first.json()['run_id']}/cancel", json={"reason": "no need"})).json()
    assert (cancelled["status"], cancelled["reason"]) == ("CANCELLED", "cancelled by ada: no need")
    too_late = await api.post(f"/runs/{first.json()['run_id']}/cancel")
    assert (too_late.status_code, too_late.json()["run_status"]) == (409, "CANCELLED")
    rerun = (await api.post(f"/runs/{first.json()['run_id']}/rerun")).json()
    assert (rerun["rerun"], rerun["parent_run_id"]) == (True, first.json()["run_id"])
    assert (await api.get("/runs", params={"status": "perhaps"})).status_code == 422
    assert (await api.get(f"/runs/{first.json()['run_id']}/events")).json()["items"]
    waited = await api.get(f"/runs/{first.json()['run_id']}", params={"wait": 5})
    assert waited.json()["status"] == "CANCELLED"


async def test_what_cant_be_triggered(api: httpx2.AsyncClient, resolver: dict[str, str]) -> None:
    await deployed(api)
    await deployed(api, job="d", type="daemon")
    for form, status, says in (
        ({"job": "nope", "env": "prod"}, 422, "there is no job 'nope'"),
        ({"job": "hello", "env": "moon"}, 422, "there is no environment 'moon'"),
        ({"job": "d", "env": "prod"}, 409, "is a daemon"),
    ):
        answer = await api.post("/runs", json=form)
        assert (answer.status_code, says in answer.json()["detail"]) == (status, True), answer.text


async def test_a_post_with_a_key_counts_once(served: Served) -> None:
    api = served.admin
    headers = {"Idempotency-Key": "make-it"}
    answers = await asyncio.gather(*(api.post("/jobs", json={"name": "j"}, headers=headers) for _ in range(4)))
    assert {a.status_code for a in answers} <= {201, 409}
    repeated = await api.post("/jobs", json={"name": "j"}, headers=headers)
    assert (repeated.status_code, repeated.headers["idempotency-replayed"]) == (201, "true")
    other = await api.post("/jobs", json={"name": "k"}, headers=headers)
    assert other.status_code == 422
    failed = await api.post("/jobs", json={"name": "j"}, headers={"Idempotency-Key": "again"})
    assert failed.status_code == 409
    assert (await api.delete("/jobs/j")).status_code == 204
    healed = await api.post("/jobs", json={"name": "j"}, headers={"Idempotency-Key": "again"})
    assert healed.status_code == 201


async def test_changes_are_told_on_the_config_topic(served: Served) -> None:
    await served.admin.post("/config-keys", json={"name": "PASSWORD", "value": "hush"})
    async with served.parts.sessions() as db:
        told = await db.scalar(text("SELECT value FROM revisions WHERE kind = 'config-key'"))
    assert told["value"] == "hush"
    bounds = await served.parts.log_store.bounds(".kirby.config")

    async def values() -> list[bytes]:
        found = []
        end = (await served.parts.log_store.bounds(".kirby.config"))[0].end
        async for records in served.parts.log_store.read(".kirby.config", 0, start=bounds[0].begin, end=end):
            found += [record.value or b"" for record in records if b"PASSWORD" in (record.value or b"")]
        return found

    messages = await eventually(values, timeout=20)
    assert all(b"hush" not in message for message in messages)


async def test_supervisors_are_enrolled(served: Served) -> None:
    made = (await served.admin.post("/supervisors", json={"name": "server-2"})).json()
    assert made["token"].startswith("kirbyw_")
    assert (await served.admin.get("/supervisors")).json()["items"] == []
    assert (await served.admin.get("/leader")).status_code == 404


async def test_previews(api: httpx2.AsyncClient) -> None:
    form = {"cron": "30 2 * * *", "tz": "Europe/Brussels", "from": "2026-10-24", "n": 3}
    due = (await api.post("/schedules/preview", json=form)).json()["due"]
    assert due == ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    bad = await api.post("/schedules/preview", json={"cron": "* * *"})
    assert bad.status_code == 422


async def test_the_same_new_job_deployed_four_times_at_once(served: Served, resolver: dict[str, str]) -> None:
    made = await asyncio.gather(*(deployed(served.admin, job="at-once") for _ in range(4)))
    assert len({m["context"]["id"] for m in made}) == 1
    assert {m["context"]["state"] for m in made} == {"enabled"}
