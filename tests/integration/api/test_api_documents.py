"""Import and export, the demo, uploads to the private index, and the original's endpoints."""

import asyncio
import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
from kirby.dev.index import IndexPart
from kirby_api.demo.wheels import document
from kirby_api.packages.pending import upload_pending
from kirby_api.settings import ApiSettings
from kirby_api.usecases.demo import CantImport, import_demo
from kirby_common.settings import KafkaSettings
from sqlalchemy import text

from tests.integration.api.conftest import Served, serving, settings_for
from tests.stores.session import INDEX_PASSWORD

SMALL: dict[str, Any] = {
    "version": 1,
    "environments": [{"name": "prod"}],
    "schedules": [{"name": "nightly", "cron": "0 2 * * *", "tz": "Europe/Brussels"}],
    "topics": [{"name": "raw"}],
    "scripts": [{"package_name": "weather", "package_version": "1.0", "destinations": ["raw"]}],
    "notification_groups": [{"name": "ops", "emails": ["ops@example.org"]}],
    "config_keys": [{"name": "REGION", "value": "eu"}],
    "jobs": [
        {
            "name": "weather", "namespace": "demo", "labels": {"team": "data"}, "policies": {"overlap": "allow"},
            "after": ["first:done"],
            "config_keys": [{"name": "REGION", "value": "us"}],
            "contexts": [
                {
                    "env": "prod", "script": "weather==1.0", "schedules": ["nightly"], "enabled": True,
                    "config_keys": [{"name": "LEVEL", "value": "3"}], "args": ["--fast"],
                    "notifications": [{"group": "ops", "on_retry": True}],
                }
            ],
        },
        {"name": "daemon", "type": "daemon", "group": "g"},
        {"name": "first"},
    ],
}  # fmt: skip


def changed(path: str, value: Any) -> dict[str, Any]:
    """The document with one value replaced, by a path such as `jobs.0.contexts.0.env`."""
    made: Any = json.loads(json.dumps(SMALL))
    *way, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    at = made
    for part in way:
        at = at[part]
    at[last] = value
    result: dict[str, Any] = made
    return result


async def test_what_was_imported_is_exported(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/import", json=SMALL)
    assert answer.status_code == 201, answer.text
    assert answer.json()["created"] == {
        "environment": 1, "schedule": 1, "topic": 1, "script": 1, "notification-group": 1, "config-key": 3, "job": 3,
        "context": 1, "notification": 1,
    }  # fmt: skip
    context = (await api.get("/contexts/weather@prod")).json()
    assert (context["state"], context["state_reason"]) == ("enabling", "no lock yet: being resolved")
    exported = (await api.get("/export")).json()
    assert exported["jobs"][2]["contexts"][0]["config_keys"] == [{"name": "LEVEL", "value": "3"}]
    assert exported["jobs"][2]["after"] == ["first:done"]
    again = await api.post("/import", json=exported)
    assert again.status_code == 409
    assert again.json()["detail"] == "environments[0]: environment 'prod' exists"


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (
            "jobs.0.contexts.0.script",
            "weather==9.9",
            "jobs[0].contexts[0].script: no script weather==9.9 in this",
        ),
        ("jobs.0.contexts.0.script", "weather", "jobs[0].contexts[0].script: 'weather' is not a script"),
        ("jobs.0.contexts.0.env", "moon", "jobs[0].contexts[0].env: there is no environment 'moon'"),
        ("jobs.0.contexts.0.schedules", ["nightly", "x"], "jobs[0].contexts[0].schedules[1]: there is no schedule 'x'"),
        (
            "jobs.0.contexts.0.notifications",
            [{"group": "x"}],
            "jobs[0].contexts[0].notifications[0].group: there is no",
        ),
        ("jobs.1.name", "weather", "jobs[1]: job 'weather' exists"),
        ("jobs.1.type", "sometimes", "jobs[1].type: "),
        ("jobs.0.config_keys.0.name", "A=B", "jobs[0].config_keys[0].name: a config key's name can't hold ="),
        ("scripts.0.destinations", ["gone"], "scripts[0]: there is no topic 'gone'"),
        ("schedules.0.cron", "0 0 31 2 *", "schedules[0]: "),
        ("typo", 1, "typo: "),
        ("version", 2, "version: "),
    ],
)
async def test_a_wrong_document_changes_nothing_and_names_the_path(
    shared_api: httpx2.AsyncClient, path: str, value: Any, says: str
) -> None:
    api = shared_api
    answer = await api.post("/import", json=changed(path, value))
    assert answer.status_code in (409, 422)
    assert answer.json()["detail"].startswith(says), answer.json()["detail"]
    for kind in ("environments", "jobs", "scripts", "schedules", "topics", "config-keys"):
        assert (await api.get(f"/{kind}")).json()["items"] == []


@pytest.fixture
def with_index(
    ledger_database: str, kafka_settings: KafkaSettings, redis_url: str, index_part: IndexPart
) -> ApiSettings:
    return settings_for(
        ledger_database, kafka_settings, redis_url, kirby_package_index_url=index_part.url,
        kirby_package_index_username=index_part.username, kirby_package_index_password=INDEX_PASSWORD,
    )  # fmt: skip


def wheel(name: str, version: str, *, body: str = "print('hi')") -> tuple[str, bytes]:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}.py"), body)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        archive.writestr(zipfile.ZipInfo(f"{name}-{version}.dist-info/METADATA"), metadata)
    return f"{name}-{version}-py3-none-any.whl", file.getvalue()


async def test_uploads(with_index: ApiSettings, index_part: IndexPart, unique_name: Any) -> None:
    name = unique_name("up").replace("-", "_")
    async with serving(with_index) as served:

        async def upload(filename: str, content: bytes) -> httpx2.Response:
            return await served.admin.post("/packages", files={"content": (filename, content)})

        filename, content = wheel(name, "1.0")
        first = await upload(filename, content)
        assert (first.status_code, first.json()["version"]) == (201, "1.0"), first.text
        assert (index_part.packages / filename).read_bytes() == content
        assert (await upload(filename, content)).status_code == 200
        other = await upload(*wheel(name, "1.0", body="print('other')"))
        assert other.status_code == 409
        assert "give it a new version" in other.json()["detail"]
        script = await upload(f"{name}.py", b"# /// script\n# dependencies = ['six']\n# ///\nprint('hi')\n")
        assert (script.status_code, script.json()["name"]) == (201, name.lower().replace("_", "-")), script.text
        assert (index_part.packages / script.json()["filename"]).exists()
        for bad, data, says in (
            ("x-1.0-py3-none-any.whl", b"no zip", "can't be read as a package"),
            ("x.py", b"print(", "line 1"),
            ("x.exe", b"", "neither a wheel"),
            ("other-1.0-py3-none-any.whl", content, "its file name must say the same"),
        ):
            answer = await upload(bad, data)
            assert answer.status_code == 422
            assert says in answer.json()["detail"]
        denied = await served.viewer.post("/packages", files={"content": (filename, content)})
        assert denied.status_code == 403


async def test_the_demo_fills_an_empty_database_once(with_index: ApiSettings, index_part: IndexPart) -> None:
    told, waiting = await asyncio.to_thread(import_demo, with_index, file=None)
    assert (told, waiting) == ("demo data inserted in the database", [])
    assert list(index_part.packages.glob("weather_sensor-*.whl"))
    async with serving(with_index) as served:
        before = (await served.admin.get("/export")).json()
        assert before["jobs"]
        with pytest.raises(CantImport, match=r"is not empty: it has 2 environments, .* nothing was changed"):
            await asyncio.to_thread(import_demo, with_index, file=document("short_demo.json"))
        assert (await served.admin.get("/export")).json() == before


async def test_the_demo_keeps_its_packages_while_the_index_is_away(api_settings: ApiSettings, tmp_path: Path) -> None:
    away = api_settings.model_copy(update={"kirby_package_index_url": "http://127.0.0.1:9/simple/"})
    _, waiting = await asyncio.to_thread(import_demo, away, file=document("short_demo.json"))
    assert waiting
    async with serving(away) as served:
        taken: list[str] = []

        class Index:
            async def upload(self, dist: Any) -> None:
                taken.append(dist.filename)

        assert await upload_pending(served.parts.engine, Index()) == len(waiting)  # type: ignore[arg-type]
        assert sorted(taken) == sorted(waiting)
        assert await upload_pending(served.parts.engine, Index()) == 0  # type: ignore[arg-type]


async def test_a_document_that_is_none(api_settings: ApiSettings, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    for content, says in (("{", "is not JSON"), ('{"version": 1, "jobs": [{}]}', r"jobs\[0\].name: ")):
        bad.write_text(content)
        with pytest.raises(CantImport, match=says):
            await asyncio.to_thread(import_demo, api_settings, file=bad)
    with pytest.raises(CantImport, match="can't be read"):
        await asyncio.to_thread(import_demo, api_settings, file=tmp_path / "absent.json")


async def test_the_originals_endpoints(served: Served) -> None:
    every_minute = changed("schedules.0.cron", "* * * * *")
    assert (await served.admin.post("/import", json=every_minute)).status_code == 201
    async with served.parts.sessions.begin() as db:
        await db.execute(text("UPDATE contexts SET state = 'enabled'"))
    root = httpx2.AsyncClient(base_url=served.url, headers=served.admin.headers)
    async with root:
        schedule = (await root.get("/schedule")).json()
        assert schedule["jobs"] == [
            {
                "name": "weather", "type": "scheduled", "environment": "prod", "package_name": "weather",
                "package_version": "1.0",
                "notifications": [
                    {"on_retry": True, "on_failure": True, "groups": [{"name": "ops", "emails": ["ops@example.org"]}]}
                ],
                "variables": [{"key": "REGION", "value": "us"}, {"key": "LEVEL", "value": "3"}],
            }
        ]  # fmt: skip
        topic = (await root.get("/topic", params={"name": "raw"})).json()
        assert set(topic) == {"id", "name"}
        script = (await served.admin.get("/scripts")).json()["items"][0]
        form = {"script_id": script["id"], "source_id": [topic["id"]], "destination_id": [topic["id"]]}
        done = await root.patch("/registration", data=form)
        assert (done.status_code, done.json()) == (200, {"message": "Sucess"})
        assert (await served.admin.get("/scripts")).json()["items"][0]["sources"] == ["raw"]
        assert (await root.patch("/registration", data={"script_id": "1"})).status_code == 400
        unknown = {"script_id": script["id"], "source_id": [script["id"]]}
        assert (await root.patch("/registration", data=unknown)).status_code == 400
    assert (await served.nobody.get(f"{served.url}/schedule")).status_code == 401
