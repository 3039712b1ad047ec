"""Signing in, sessions, tokens, CSRF, rate limit, login links; and what a viewer may not do."""

import asyncio
import re
from datetime import timedelta
from uuid import uuid4

import httpx2
import pytest
from kirby_api.access import accounts
from kirby_api.access.permissions import Caller, Grant, Permission
from kirby_api.access.tokens import hashed
from kirby_common.ledger.tables import ApiToken, Session

from tests.integration.api.conftest import Served

PASSWORD = "correct horse battery"


async def with_password(served: Served, name: str, *, role: str = "admin") -> None:
    answer = await served.admin.post("/users", json={"name": name, "password": PASSWORD, "role": role})
    assert answer.status_code == 201, answer.text


async def test_a_session_needs_its_csrf_token(served: Served) -> None:
    await with_password(served, "alice")
    browser = await served.client(None)
    async with browser:
        answer = await browser.post("/login", json={"name": "alice", "password": PASSWORD})
        assert answer.json()["role"] == "admin"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        csrf = (await browser.get("/me")).json()["csrf"]
        assert csrf == answer.json()["csrf"]
        refused = await browser.post("/environments", json={"name": "x"})
        assert refused.status_code == 403
        assert "X-CSRF-Token" in refused.json()["detail"]
        headers = {"X-CSRF-Token": csrf}
        assert (await browser.post("/environments", json={"name": "x"}, headers=headers)).status_code == 201
        async with served.parts.sessions() as db:
            stored = re.match(r"kirby_session=([^;]+)", cookie)
            assert stored is not None
            assert await db.get(Session, stored[1]) is None
            assert await db.get(Session, hashed(stored[1])) is not None
        assert (await browser.post("/logout", headers=headers)).status_code == 204
        assert (await browser.get("/me")).status_code == 401


async def test_wrong_passwords_are_slowed_down(served: Served) -> None:
    await with_password(served, "alice")
    served.parts.throttle.limit = 2
    for _ in range(2):
        answer = await served.nobody.post("/login", json={"name": "alice", "password": "wrong"})
        assert (answer.status_code, answer.json()["detail"]) == (401, "the name or the password is wrong")
    late = await served.nobody.post("/login", json={"name": "alice", "password": PASSWORD})
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) > 0
    stranger = await served.nobody.post("/login", json={"name": "nobody", "password": "wrong"})
    assert stranger.json()["detail"] == "the name or the password is wrong"


async def test_a_login_link_works_once(served: Served) -> None:
    async with served.parts.sessions.begin() as db:
        user = await accounts.user_by_name(db, "ada")
        assert user is not None
        link = await accounts.add_login_link(db, user, lifetime=timedelta(hours=1))
        over = await accounts.add_login_link(db, user, lifetime=timedelta(seconds=-1))
    async with httpx2.AsyncClient(base_url=served.url) as browser:
        opened = await browser.get(f"/login-link/{link}")
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        assert (await browser.get("/api/v1/me")).json()["name"] == "ada"
    mine = (await served.viewer.post("/login-links")).json()["url"]
    async with httpx2.AsyncClient(base_url=served.url) as third:
        await third.get(f"/login-link/{mine.rpartition('/')[2]}")
        assert (await third.get("/api/v1/me")).json()["role"] == "viewer"
    async with httpx2.AsyncClient(base_url=served.url) as other:
        for used in (link, over, "nonsense"):
            again = await other.get(f"/login-link/{used}")
            assert again.headers["location"] == "/login?link=used"
        assert (await other.get("/api/v1/me")).status_code == 401
        as_token = await other.get("/api/v1/me", headers={"Authorization": f"Bearer {over}"})
        assert as_token.status_code == 401


async def test_tokens_are_shown_once_and_can_be_taken_back(served: Served) -> None:
    made = (await served.viewer.post("/tokens", json={"label": "ci"})).json()
    assert made["token"].startswith("kirby_")
    listed = (await served.viewer.get("/tokens")).json()["items"]
    assert [(t["user"], t["token"]) for t in listed] == [("vic", None)] * 2
    async with served.parts.sessions() as db:
        row = await db.get(ApiToken, made["id"])
        assert row is not None
        assert row.token_hash == hashed(made["token"])
    async with await served.client(made["token"]) as ci:
        assert (await ci.get("/me")).json()["name"] == "vic"
        assert (await served.viewer.delete(f"/tokens/{made['id']}")).status_code == 204
        assert (await ci.get("/me")).status_code == 401
    others = await served.viewer.post("/tokens", json={"user": "ada"})
    assert others.status_code == 403
    over = (await served.admin.post("/tokens", json={"expires_at": "2020-01-01T00:00:00Z"})).json()
    async with await served.client(over["token"]) as late:
        assert (await late.get("/me")).status_code == 401


async def test_a_viewer_only_looks(served: Served) -> None:
    assert (await served.viewer.get("/jobs")).status_code == 200
    for method, path in (
        ("POST", "/jobs"), ("PATCH", "/jobs/x"), ("DELETE", "/jobs/x"), ("POST", "/runs"), ("POST", "/deployments"),
        ("GET", "/users"), ("POST", "/supervisors"), ("GET", "/secrets/a"), ("POST", "/import"),
    ):  # fmt: skip
        answer = await served.viewer.request(method, path, json={"name": "x", "job": "x", "env": "x"})
        assert answer.status_code in (403, 422), path
        if answer.status_code == 403:
            assert "vic may not" in answer.json()["detail"]
    assert (await served.nobody.get("/jobs")).status_code == 401


async def test_users(served: Served) -> None:
    weak = await served.admin.post("/users", json={"name": "bob", "password": "short"})
    assert (weak.status_code, weak.json()["detail"]) == (422, "the password needs at least 8 characters")
    await with_password(served, "bob", role="viewer")
    twice = await served.admin.post("/users", json={"name": "bob"})
    assert (twice.status_code, twice.json()["detail"]) == (409, "User bob exists")
    last = await served.admin.delete("/users/ada")
    assert last.status_code == 409
    assert (await served.admin.patch("/users/bob", json={"role": "admin"})).json()["role"] == "admin"
    assert (await served.admin.delete("/users/bob")).status_code == 204


async def test_a_permission_holds_where_the_thing_is(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller with grants in one environment and namespace only: the routes check where things are."""
    api = served.admin
    for env in ("prod", "test"):
        await api.post("/environments", json={"name": env})
    await api.post("/jobs", json={"name": "sales", "namespace": "sales"})
    await api.post("/jobs", json={"name": "other", "namespace": "other"})
    script = {"package_name": "p", "package_version": "1"}
    for job in ("sales", "other"):
        for env in ("prod", "test"):
            made = await api.post("/contexts", json={"job": job, "env": env, "script": script})
            assert made.status_code == 201, made.text
    grants = [Grant(p, env="test", namespace="sales") for p in Permission]

    async def limited(db: object, token: str) -> Caller:
        return Caller(uuid4(), "eve", "custom", tuple(grants))

    run = (await api.post("/runs", json={"job": "other", "env": "test"})).json()
    monkeypatch.setattr("kirby_api.access.gate.caller_of_token", limited)
    assert (await api.post("/runs", json={"job": "sales", "env": "test"})).status_code == 202
    for method, path, form in (
        ("POST", "/runs", {"job": "sales", "env": "prod"}),
        ("POST", "/runs", {"job": "other", "env": "test"}),
        ("POST", f"/runs/{run['run_id']}/cancel", {}),
        ("GET", f"/runs/{run['run_id']}", None),
        ("GET", f"/runs/{run['run_id']}/logs", None),
        ("GET", "/contexts/sales@prod", None),
        ("PATCH", "/contexts/sales@prod", {"paused": True}),
        ("PATCH", "/jobs/other", {"description": "mine"}),
        ("PATCH", "/jobs/sales", {"namespace": "other"}),
        ("POST", "/deployments", {"job": "sales", "env": "prod", "package_name": "p", "package_version": "1"}),
        ("POST", "/deployments", {"job": "other", "env": "test", "package_name": "p", "package_version": "1"}),
        ("POST", "/config-keys", {"name": "A", "value": "1", "job": "other"}),
    ):
        answer = await api.request(method, path, json=form)
        assert answer.status_code == 403, (path, answer.text)


async def test_the_pages_and_their_headers(served: Served) -> None:
    async with httpx2.AsyncClient(base_url=served.url) as browser:
        page = await browser.get("/runs/some/page")
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-frame-options"] == "DENY"
        moved = await browser.get("/", headers={"X-Forwarded-Prefix": "/kirby"})
        assert "<base" not in moved.text or '<base href="/kirby/"' in moved.text
        job = await browser.get("/job/adhoc/hello.py", headers={"Accept": "text/html,*/*"})
        assert job.headers["content-type"].startswith("text/html")
        for missing in ("/assets/none.js", "/assets/%2e%2e/%2e%2e/settings.py", "/api/v1/nothing", "/none.png"):
            answer = await browser.get(missing, headers={"Accept": "image/png" if "png" in missing else "*/*"})
            assert answer.status_code == 404, missing
        assert (await browser.get("/healthz")).json()["status"] == "ok"
        document = (await browser.get("/api/v1/openapi.json")).json()
        assert document["openapi"].startswith("3.1")
        assert (await browser.get("/api/v1/docs")).status_code == 200
        endpoints = (await browser.get("/api/v1/endpoints")).json()
        assert set(endpoints) == {"ledger", "index", "vault"}


async def test_an_absent_vault_is_a_sentence(served: Served) -> None:
    answer = await served.admin.get("/secrets")
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("the vault does not answer now")
    health = (await served.admin.get("/health")).json()
    assert health["status"] == "degraded"
    assert {part["name"]: part["status"] for part in health["parts"]}["vault"] == "down"
    await asyncio.gather(*(served.viewer.get("/health") for _ in range(3)))
