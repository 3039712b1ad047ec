"""The vault's REST on the store in memory: who may do what, what is told, and what never is."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx2
import pytest
import structlog
from kirby_common import assertions
from kirby_common.runtime import Health
from kirby_vault.app import create_app
from kirby_vault.domain.envelope import MasterKey
from kirby_vault.handlers import Vault
from kirby_vault.testing import MemorySecretStore

SECRET_KEY = "0123456789abcdef"
CONTEXT, RUN = uuid4(), uuid4()


def user(role: str = "admin", name: str = "ada") -> dict[str, str]:
    token = assertions.issue({"sub": name, "role": role}, key=SECRET_KEY, audience=assertions.USER, ttl_s=60)
    return {"Authorization": f"Bearer {token}"}


def run_token(**changed: object) -> dict[str, str]:
    claims = {"run_id": str(RUN), "grant": 1, "context_id": str(CONTEXT), "job": "load", "env": "prod"} | changed
    token = assertions.issue(claims, key=SECRET_KEY, audience=assertions.RUN, ttl_s=60)
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def store() -> MemorySecretStore:
    return MemorySecretStore()


@pytest.fixture
async def client(store: MemorySecretStore) -> AsyncIterator[httpx2.AsyncClient]:
    app = create_app(health=Health(service="vault", version="0"), secret_key=SECRET_KEY)
    app.state.vault = Vault(store, MasterKey(bytes(32)))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://vault") as client:
        yield client


async def put(client: httpx2.AsyncClient, path: str = "db/main", **data: str) -> httpx2.Response:
    return await client.put(f"/v1/secrets/{path}", json={"data": data or {"password": "PLANTED"}}, headers=user())


async def test_put_and_get_and_list(client: httpx2.AsyncClient) -> None:
    assert (await put(client)).json() == {"path": "db/main", "version": 1}
    assert (await put(client, password="PLANTED two")).json()["version"] == 2

    newest = await client.get("/v1/secrets/db/main", headers=user())
    assert newest.json() == {"path": "db/main", "version": 2, "data": {"password": "PLANTED two"}}
    assert newest.headers["cache-control"] == "no-store"
    first = await client.get("/v1/secrets/db/main?version=1", headers=user())
    assert first.json()["data"] == {"password": "PLANTED"}

    listed = await client.get("/v1/secrets", headers=user("viewer"))
    assert [(i["path"], i["version"], i["fields"]) for i in listed.json()["items"]] == [("db/main", 2, ["password"])]
    assert "PLANTED" not in listed.text


async def test_lists_come_in_pages(client: httpx2.AsyncClient) -> None:
    for n in range(5):
        await put(client, f"p/{n}")
    first = (await client.get("/v1/secrets?limit=3", headers=user())).json()
    rest = (await client.get(f"/v1/secrets?limit=3&cursor={first['next']}", headers=user())).json()
    assert [i["path"] for i in first["items"] + rest["items"]] == [f"p/{n}" for n in range(5)]
    assert rest["next"] is None


async def test_a_deleted_secret_is_gone_and_its_numbers_stay_used(client: httpx2.AsyncClient) -> None:
    await put(client)
    assert (await client.delete("/v1/secrets/db/main", headers=user())).status_code == 204
    assert (await client.get("/v1/secrets/db/main?version=1", headers=user())).status_code == 404
    assert (await client.delete("/v1/secrets/db/main", headers=user())).status_code == 404
    assert (await put(client)).json()["version"] == 2
    assert (await client.get("/v1/secrets/db/main?version=1", headers=user())).status_code == 404


async def test_a_viewer_lists_but_neither_reads_nor_changes(
    client: httpx2.AsyncClient, store: MemorySecretStore
) -> None:
    await put(client)
    for method, path, body in [
        ("GET", "/v1/secrets/db/main", None),
        ("PUT", "/v1/secrets/db/main", {"data": {"password": "x"}}),
        ("DELETE", "/v1/secrets/db/main", None),
        ("PUT", "/v1/grants", {"context_id": str(CONTEXT), "path": "db/main"}),
        ("GET", "/v1/audit", None),
    ]:
        answer = await client.request(method, path, json=body, headers=user("viewer", "vic"))
        assert answer.status_code == 403, path
        assert answer.json()["detail"].endswith("needs the role admin; vic has the role viewer")
    denied = [row.access for row in await store.audit(before=None, limit=10) if row.access.outcome == "denied"]
    assert {a.action for a in denied} == {"get", "put", "delete", "grant", "list-audit"}


async def test_a_run_reads_what_its_context_was_granted(client: httpx2.AsyncClient) -> None:
    await put(client)
    refused = await client.get("/v1/run-secrets/db/main", headers=run_token())
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["detail"] == (
        "job load in prod has no grant for db/main: kirby secrets grant db/main --job load --env prod"
    )

    grant = {"context_id": str(CONTEXT), "path": "db/*"}
    assert (await client.put("/v1/grants", json=grant, headers=user())).status_code == 201
    assert (await client.put("/v1/grants", json=grant, headers=user())).status_code == 200
    granted = await client.get("/v1/run-secrets/db/main", headers=run_token())
    assert granted.json() == {"path": "db/main", "version": 1, "data": {"password": "PLANTED"}}
    other = await client.get("/v1/run-secrets/db/main", headers=run_token(context_id=str(uuid4())))
    assert other.status_code == 403

    assert (await client.delete("/v1/grants", params=grant, headers=user())).status_code == 204
    assert (await client.get("/v1/run-secrets/db/main", headers=run_token())).status_code == 403
    assert (await client.delete("/v1/grants", params=grant, headers=user())).status_code == 404


async def test_a_grant_may_name_the_job_and_the_environment(
    client: httpx2.AsyncClient, store: MemorySecretStore
) -> None:
    await put(client)
    grant = {"job": "load", "env": "prod", "path": "db/*"}
    telling = asyncio.create_task(client.put("/v1/grants", json=grant, headers=user()))
    await asyncio.sleep(0)
    await store.know_context(CONTEXT, job="load", env="prod")  # The news comes after the request.
    assert (await telling).json() == {"context_id": str(CONTEXT), "path": "db/*"}
    assert (await client.get("/v1/run-secrets/db/main", headers=run_token())).status_code == 200
    listed = (await client.get("/v1/grants?job=load&env=prod", headers=user())).json()["items"]
    assert [(g["job"], g["env"], g["path"]) for g in listed] == [("load", "prod", "db/*")]
    assert (await client.get("/v1/grants?job=other", headers=user())).json()["items"] == []
    assert (await client.delete("/v1/grants", params=grant, headers=user())).status_code == 204
    nameless = await client.put("/v1/grants", json={"path": "db/*"}, headers=user())
    assert (nameless.status_code, nameless.json()["detail"]) == (422, "name the context: context_id, or job and env")


async def test_an_absent_secret_is_told_only_to_those_who_may_know(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/v1/run-secrets/db/none", headers=run_token())).status_code == 403
    await client.put("/v1/grants", json={"context_id": str(CONTEXT), "path": "db/none"}, headers=user())
    absent = await client.get("/v1/run-secrets/db/none", headers=run_token())
    assert absent.status_code == 404
    assert absent.json()["detail"].startswith("there is no secret db/none: kirby secrets ")


async def test_an_ad_hoc_run_without_a_context_is_granted_nothing(client: httpx2.AsyncClient) -> None:
    await put(client)
    assert (await client.get("/v1/run-secrets/db/main", headers=run_token(context_id=None))).status_code == 403


async def test_each_access_leaves_one_audit_row_without_values(client: httpx2.AsyncClient) -> None:
    await put(client)
    await client.get("/v1/secrets/db/main", headers=user())
    await client.get("/v1/run-secrets/db/main", headers=run_token())
    answer = await client.get("/v1/audit", headers=user())
    rows = answer.json()["items"]
    assert [(r["action"], r["outcome"], r["principal"]) for r in rows] == [
        ("run-get", "denied", f"run:{RUN}"),
        ("get", "allowed", "ada"),
        ("put", "allowed", "ada"),
    ]
    assert rows[0]["context_id"] == str(CONTEXT)
    assert rows[1]["version"] == 1
    assert "PLANTED" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer nonsense"},
        run_token(),
        {
            "Authorization": "Bearer "
            + assertions.issue({"sub": "a", "role": "admin"}, key="another key 1234", audience="kirby-user", ttl_s=60)
        },
        {
            "Authorization": "Bearer "
            + assertions.issue(
                {"sub": "a", "role": "admin"}, key=SECRET_KEY, audience="kirby-user", ttl_s=60, now=time.time() - 120
            )
        },
    ],
)
async def test_a_token_that_is_not_a_users_is_refused(client: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    assert (await client.get("/v1/secrets/db/main", headers=headers)).status_code == 401


async def test_a_users_token_is_no_runs(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/v1/run-secrets/db/main", headers=user())).status_code == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("db/main", {"data": {"password": {"PLANTED": 1}}}),
        ("db/main", {"data": ["PLANTED"]}),
        ("db/main", {"PLANTED": 1}),
        ("db/main", {"data": {}}),
        ("db/main", {"data": {"password": 5}}),
        ("db/..%2f..", {"data": {"password": "PLANTED"}}),
        ("db%00", {"data": {"password": "PLANTED"}}),
    ],
)
async def test_bad_input_is_one_sentence_that_never_repeats_it(
    client: httpx2.AsyncClient, path: str, body: object
) -> None:
    with structlog.testing.capture_logs() as logged:
        answer = await client.put(f"/v1/secrets/{path}", json=body, headers=user())
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert "PLANTED" not in answer.text + repr(logged)


async def test_a_body_that_is_not_json_is_not_repeated(client: httpx2.AsyncClient) -> None:
    answer = await client.put("/v1/secrets/db", content=b'{"data": PLANTED', headers=user())
    assert answer.status_code == 422
    assert "PLANTED" not in answer.text


async def test_a_tampered_row_is_told_and_audited(client: httpx2.AsyncClient, store: MemorySecretStore) -> None:
    await put(client)
    store._secrets["db/other"] = store._secrets["db/main"]  # As someone who copies rows in the database would.
    answer = await client.get("/v1/secrets/db/other", headers=user())
    assert answer.status_code == 500
    assert "does not decrypt" in answer.json()["detail"]
    assert (await store.audit(before=None, limit=1))[0].access.outcome == "denied"


async def test_before_the_database_is_there_it_answers_503() -> None:
    app = create_app(health=Health(service="vault", version="0"), secret_key=SECRET_KEY)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://vault") as client:
        assert (await client.get("/v1/secrets", headers=user())).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
