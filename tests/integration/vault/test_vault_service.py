"""`kirby vault` as a process on a real Postgres and a real broker."""

import base64
import os
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from kirby.dev.parts import free_port
from kirby_common import assertions, topics
from kirby_common.kafka import KafkaBus, KafkaTopicAdmin
from kirby_common.messages import ConfigEntity, ConfigEntityV1, encode
from kirby_common.settings import KafkaSettings

from tests.eventually import eventually
from tests.service_process import query, run_to_end, running

SECRET_KEY = "0123456789abcdef"
PLANTED = "PLANTED-7f3a"


def user(role: str = "admin") -> dict[str, str]:
    token = assertions.issue({"sub": "ada", "role": role}, key=SECRET_KEY, audience=assertions.USER, ttl_s=60)
    return {"Authorization": f"Bearer {token}"}


def new_key(folder: Path) -> Path:
    file = folder / f"vault-{uuid4().hex[:6]}.key"
    file.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    return file


@pytest.fixture
def env(database: str, tmp_path: Path) -> dict[str, str]:
    """A vault without a broker: it must not need one."""
    return {
        "SQLALCHEMY_DATABASE_URI": database,
        "SECRET_KEY": SECRET_KEY,
        "KIRBY_VAULT_KEY_FILE": str(new_key(tmp_path)),
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
    }


async def test_a_secret_is_kept_over_a_restart_and_nowhere_in_plain(env: dict[str, str], tmp_path: Path) -> None:
    with running("vault", env=env, folder=tmp_path) as vault:
        await vault.ready()
        async with httpx2.AsyncClient(base_url=vault.url, headers=user()) as client:
            put = await client.put("/v1/secrets/db/main", json={"data": {"password": PLANTED}})
            assert put.json() == {"path": "db/main", "version": 1}
        assert await vault.terminate() == 0
        assert PLANTED not in vault.log
    with running("vault", env=env, folder=tmp_path) as vault:
        await vault.ready()
        async with httpx2.AsyncClient(base_url=vault.url, headers=user()) as client:
            assert (await client.get("/v1/secrets/db/main")).json()["data"] == {"password": PLANTED}
    uri = env["SQLALCHEMY_DATABASE_URI"]
    for table in ("secrets", "secret_versions", "audit", "key_check"):
        for (row,) in await query(uri, f"SELECT t::text FROM vault.{table} t"):
            assert PLANTED not in row
            assert PLANTED.encode().hex() not in row


async def test_a_wrong_key_refuses_to_start_and_changes_nothing(env: dict[str, str], tmp_path: Path) -> None:
    with running("vault", env=env, folder=tmp_path) as vault:
        await vault.ready()
        async with httpx2.AsyncClient(base_url=vault.url, headers=user()) as client:
            await client.put("/v1/secrets/db/main", json={"data": {"password": PLANTED}})
    uri = env["SQLALCHEMY_DATABASE_URI"]
    everything = """SELECT (SELECT string_agg(t::text, ',' ORDER BY t::text) FROM vault.secret_versions t),
        (SELECT string_agg(t::text, ',') FROM vault.key_check t), (SELECT count(*) FROM vault.audit)"""
    before = await query(uri, everything)
    other = new_key(tmp_path)
    text = other.read_text()

    refused = run_to_end("vault", "--port", "0", env=env | {"KIRBY_VAULT_KEY_FILE": str(other)})

    assert refused.returncode == 2
    sentence = refused.stderr.strip().split("\n")[-1]
    assert sentence.startswith("KIRBY_VAULT_KEY_FILE: the vault key")
    assert "is not the one" in sentence
    assert "Traceback" not in refused.stderr
    assert await query(uri, everything) == before
    assert other.read_text() == text
    with running("vault", env=env, folder=tmp_path) as vault:
        await vault.ready()


async def test_two_vaults_start_at_once_on_an_empty_database(env: dict[str, str], tmp_path: Path) -> None:
    with running("vault", env=env, folder=tmp_path) as one, running("vault", env=env, folder=tmp_path) as two:
        await one.ready()
        await two.ready()


async def test_it_waits_for_its_database_and_ends_when_told_to_meanwhile(env: dict[str, str], tmp_path: Path) -> None:
    away = env | {"SQLALCHEMY_DATABASE_URI": f"postgresql://u:hidden@127.0.0.1:{free_port()}/kirby"}
    with running("vault", env=away, folder=tmp_path) as vault:
        await eventually(lambda: "database.waiting" in vault.log)
        assert (await vault.health()).status_code == 200
        ready = await vault.health("readyz")
        assert ready.status_code == 503
        assert "database" in ready.json()["problems"]["start"]
        async with httpx2.AsyncClient(base_url=vault.url, headers=user()) as client:
            assert (await client.get("/v1/secrets")).status_code == 503
        assert await vault.terminate() == 0
        assert "hidden" not in vault.log


async def test_contexts_are_followed_when_there_is_a_broker(
    env: dict[str, str], tmp_path: Path, kafka_bootstrap: str, kafka_settings: KafkaSettings
) -> None:
    await KafkaTopicAdmin(kafka_settings).ensure(topics.registry())
    context_id = uuid4()

    async def tell(value: dict[str, str] | None) -> None:
        entity = ConfigEntity(kind="context", id=str(context_id), value=value)
        async with KafkaBus(kafka_settings) as bus:
            message = ConfigEntityV1(source="api", data=entity)
            await bus.send(topics.CONFIG, key=f"context/{context_id}".encode(), value=encode(message))

    await tell({"id": str(context_id), "job": "load", "env": "prod"})
    with running("vault", env=env | {"KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap}, folder=tmp_path) as vault:
        await vault.ready()
        async with httpx2.AsyncClient(base_url=vault.url, headers=user()) as client:
            await client.put("/v1/grants", json={"context_id": str(context_id), "path": "db/*"})

            async def grants() -> list[dict[str, str]]:
                items: list[dict[str, str]] = (await client.get("/v1/grants")).json()["items"]
                return items

            async def named() -> bool:
                return [(g["job"], g["env"]) for g in await grants()] == [("load", "prod")]

            await eventually(named, timeout=20)
            await tell(None)

            async def forgotten() -> bool:
                return await grants() == []

            await eventually(forgotten)


@pytest.mark.parametrize(
    ("arguments", "changed", "code", "sentence"),
    [
        (["--check"], {}, 0, "ok"),
        (["--check"], {"SQLALCHEMY_DATABASE_URI": "///kirby.db"}, 2, "Kirby needs PostgreSQL; `make dev` starts one"),
        ([], {"SECRET_KEY": ""}, 2, "SECRET_KEY"),
        (
            ["--check"],
            {"KIRBY_VAULT_KEY_FILE": "/nowhere/key"},
            2,
            "KIRBY_VAULT_KEY_FILE: there is no file /nowhere",
        ),
        (
            ["--check"],
            {"KIRBY_VAULT_KEY_FILE": "/etc/hostname"},
            2,
            "KIRBY_VAULT_KEY_FILE: /etc/hostname: the vault key is not base64",
        ),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    tmp_path: Path, arguments: list[str], changed: dict[str, str], code: int, sentence: str
) -> None:
    good = {
        "SQLALCHEMY_DATABASE_URI": "postgresql://kirby@db/kirby",
        "SECRET_KEY": SECRET_KEY,
        "KIRBY_VAULT_KEY_FILE": str(new_key(tmp_path)),
    }
    refused = run_to_end("vault", *arguments, env=good | changed)
    assert refused.returncode == code
    assert sentence in refused.stderr + refused.stdout
    assert (refused.stderr + refused.stdout).count("\n") == 1
