"""Who may read and order what, by environment and namespace; and that no route forgets to ask."""

import itertools
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import httpx2
import pytest
from kirby_api.access.permissions import Caller, Grant, Permission, Place, grants_of
from kirby_api.access.visible import readable
from kirby_api.app import create_app, permissions
from kirby_common.ledger import triggers
from sqlalchemy import literal, select

from tests.integration.api.conftest import Served, token_for
from tests.integration.ledger.world import World

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Two:
    """A job of sales in prod, one of ops in test, each with a run; `sam` may only see and order the latter."""

    served: Served
    sam: httpx2.AsyncClient
    contexts: dict[str, UUID]
    runs: dict[str, UUID]


@pytest.fixture
async def two(served: Served) -> AsyncIterator[Two]:
    world = World(served.parts.engine)
    contexts = {
        "prod": await world.context(job="invoices", env="prod", every=HOUR),
        "test": await world.context(job="backups", env="test", every=HOUR),
    }
    await world.sql("UPDATE jobs SET namespace = CASE name WHEN 'invoices' THEN 'sales' ELSE 'ops.night' END")
    runs = {}
    for env, context in contexts.items():
        async with served.parts.sessions.begin() as db:
            made = await triggers.trigger(db, context_id=context, principal="ada", key=env)
            runs[env] = made.run_id
        window = "INSERT INTO schedule_exceptions (scope, scope_ref, start, reason, author)"
        await world.sql(f"{window} VALUES ('context', :ref, now(), 'x', 'ada')", ref=str(context))
        key = "INSERT INTO config_keys (scope, context_id, name, value) VALUES ('context', :id, 'K', 'v')"
        await world.sql(key, id=context)
        backfill = {
            "job": "invoices" if env == "prod" else "backups",
            "env": env,
            "from": "2026-01-01",
            "to": "2026-01-02",
        }
        assert (await served.admin.post("/backfills", json=backfill)).status_code == 201
    token = await token_for(served.parts, "sam", "none")
    bound = await served.admin.post("/users/sam/roles", json={"role": "operator", "env": "test", "namespace": "ops.*"})
    assert [r["role"] for r in bound.json()["roles"]] == ["operator"]
    async with await served.client(token) as sam:
        yield Two(served, sam, contexts, runs)


async def test_every_list_shows_only_what_the_caller_may_read(two: Two) -> None:
    for path, told in (
        ("/runs", "job"), ("/contexts", "job"), ("/jobs", "name"), ("/environments", "name"), ("/config-keys", "job"),
        ("/exceptions", "target"), ("/backfills", "job"),
    ):  # fmt: skip
        everything = (await two.served.admin.get(path)).json()["items"]
        seen = (await two.sam.get(path)).json()["items"]
        assert {item[told] for item in seen} <= {"backups", "test", "backups@test"}, path
        assert (len(everything), len(seen)) == (2, 1), path
    (job,) = (await two.sam.get("/jobs")).json()["items"]
    assert [c["env"] for c in job["contexts"]] == ["test"]
    scripts = (await two.sam.get("/scripts")).json()["items"]
    assert {c["env"] for s in scripts for c in s["contexts"]} <= {"test"}
    schedules = (await two.sam.get("/schedules")).json()["items"]
    assert sorted(name for s in schedules for name in s["contexts"]) == ["backups@test"]
    health = (await two.sam.get("/health")).json()
    assert (health["runs"]["pending"], [due["job"] for due in health["next"]]) == (1, ["backups"])
    exported = (await two.sam.get("/export")).json()
    assert [job["name"] for job in exported["jobs"]] == ["backups"]
    original = await two.sam.get(f"{two.served.url}/schedule")
    assert {job["environment"] for job in original.json()["jobs"]} <= {"test"}


async def test_single_things_and_orders_elsewhere_are_refused(two: Two) -> None:
    for method, path in (
        ("GET", f"/runs/{two.runs['prod']}"), ("GET", f"/runs/{two.runs['prod']}/logs"),
        ("GET", f"/runs/{two.runs['prod']}/events"), ("POST", f"/runs/{two.runs['prod']}/cancel"),
        ("POST", f"/runs/{two.runs['prod']}/kill"), ("POST", f"/runs/{two.runs['prod']}/rerun"),
        ("GET", "/contexts/invoices@prod"), ("GET", "/jobs/invoices"), ("GET", "/environments/prod"),
        ("PATCH", "/contexts/backups@test"), ("PATCH", "/jobs/backups"), ("GET", "/users"), ("GET", "/secrets"),
    ):  # fmt: skip
        answer = await two.sam.request(method, path, json={} if method == "PATCH" else None)
        assert answer.status_code == 403, (method, path, answer.text)
    body = {"job": "invoices", "env": "prod", "from": "2026-01-01", "to": "2026-01-02"}
    assert (await two.sam.post("/backfills", json=body)).status_code == 403
    assert (await two.sam.post("/runs", json={"job": "invoices", "env": "prod"})).status_code == 403
    assert (await two.sam.post(f"/runs/{two.runs['test']}/cancel")).status_code == 200


async def test_who_may_configure_a_part_may_not_change_what_all_share(two: Two) -> None:
    body = {"role": "developer", "env": "test"}
    given = (await two.served.admin.post("/users/sam/roles", json=body)).json()["roles"]
    assert (await two.sam.patch("/contexts/backups@test", json={"paused": True})).status_code == 200
    for method, path, form in (
        ("PATCH", "/jobs/backups", {"description": "x"}),
        ("POST", "/schedules", {"name": "s", "every": "1h"}),
        ("POST", "/config-keys", {"name": "GLOBAL", "value": "1"}),
        ("POST", "/import", {"version": 1}),
        ("PATCH", "/contexts/invoices@prod", {"paused": True}),
    ):
        assert (await two.sam.request(method, path, json=form)).status_code == 403, path
    (mine,) = [r["id"] for r in given if r["role"] == "developer"]
    assert (await two.served.admin.delete(f"/users/sam/roles/{mine}")).status_code == 204
    assert (await two.served.admin.delete(f"/users/sam/roles/{mine}")).status_code == 404
    assert (await two.sam.patch("/contexts/backups@test", json={"paused": False})).status_code == 403


async def test_no_route_answers_somebody_without_a_role(served: Served) -> None:
    """Of a route whose permission is deleted, the name is what this fails with."""
    answered = []
    async with await served.client(await token_for(served.parts, "nobody", "none")) as nobody:
        for route, permission in permissions(create_app(served.parts, version="test")):
            path = re.sub(r"\{[^}]*\}", str(uuid4()), route.path_format)
            for method in sorted(route.methods - {"HEAD"}) if permission else ():
                answer = await nobody.request(method, f"{served.url}{path}")
                if answer.status_code != 403:
                    answered.append(f"{route.name}: {method} {path} answered {answer.status_code}")
    assert answered == []


async def test_lists_and_single_things_are_judged_alike(served: Served) -> None:
    """`readable` in SQL says what `Grant.covers` says."""
    patterns = ("*", "prod", "sales", "sales.*")
    values = ("prod", "test", "sales", "sales.reports", "salesforce")
    async with served.parts.sessions() as db:
        for env, namespace in itertools.product(patterns, patterns):
            caller = Caller(uuid4(), "eve", "none", grants_of("viewer", env=env, namespace=namespace))
            for e, n in itertools.product(values, values):
                in_sql = await db.scalar(select(readable(caller, env=literal(e), namespace=literal(n))))
                assert in_sql is caller.may(Permission.READ, Place(e, n)), (env, namespace, e, n)
        no_one = Caller(uuid4(), "eve", "none", (Grant(Permission.OPERATE),))
        assert await db.scalar(select(readable(no_one, env=literal("prod")))) is False
