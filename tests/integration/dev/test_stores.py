"""The embedded servers themselves."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from kirby.dev import postgres
from kirby.dev.folders import home_folder, private_folder
from kirby.dev.index import IndexPart
from kirby.dev.parts import free_port
from kirby.dev.postgres import PostgresPart
from kirby.dev.processes import start_together, stop_all
from kirby_common.database import connect
from kirby_common.kafka import KafkaBus, KafkaTopicAdmin
from kirby_common.ports import BusUnavailable
from kirby_common.settings import KafkaSettings
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.stores.session import INDEX_PASSWORD


async def test_ledger_engines_do_not_share_a_database(ledger_engine: AsyncEngine, database: str) -> None:
    async with ledger_engine.connect() as connection:
        assert (await connection.scalar(text("SELECT count(*) FROM runs"))) == 0
    empty = connect(database, application="tests")
    async with empty.connect() as connection:
        assert (await connection.scalar(text("SELECT to_regclass('runs')"))) is None
    await empty.dispose()


def test_a_wrong_password_is_refused(postgres_part: PostgresPart, postgres_uri: str) -> None:
    wrong = PostgresPart(postgres_part._folder, port=postgres_part.port, password="guess")
    with pytest.raises(RuntimeError, match="password authentication failed"):
        wrong.sql("SELECT 1")


async def test_topics_are_not_made_by_asking_for_them(
    kafka_settings: KafkaSettings, unique_name: Callable[[str], str]
) -> None:
    name = unique_name("never")
    async with KafkaBus(kafka_settings, timeout_s=1) as bus:
        with pytest.raises(BusUnavailable):
            await bus.send(name, key=b"k", value=b"v")
    await KafkaTopicAdmin(kafka_settings).ensure([])
    client = AdminClient({"bootstrap.servers": kafka_settings.kafka_bootstrap_servers})
    assert name not in client.list_topics(timeout=5).topics


def test_redis_answers(redis_url: str) -> None:
    from redis import Redis

    with Redis.from_url(redis_url) as client:
        assert client.ping()


def test_an_upload_needs_the_password_and_never_replaces(index_part: IndexPart, tmp_path: Path) -> None:
    wheel = _wheel(tmp_path)
    refused = _twine(index_part, wheel, password="guess")
    assert refused.returncode != 0
    assert "403" in refused.stdout
    assert _twine(index_part, wheel, password=INDEX_PASSWORD).returncode == 0
    again = _twine(index_part, wheel, password=INDEX_PASSWORD)
    assert again.returncode != 0
    assert "already exists" in again.stdout


def _twine(index: IndexPart, wheel: Path, *, password: str) -> subprocess.CompletedProcess[str]:
    argv = ["twine", "upload", "--disable-progress-bar", "--non-interactive", "--verbose", "-u", index.username]
    return subprocess.run(
        [sys.executable, "-m", *argv, "-p", password, "--repository-url", index.upload_url, str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )


def _wheel(folder: Path) -> Path:
    from zipfile import ZipFile

    path = folder / "tiny_thing-1.0-py3-none-any.whl"
    info = "tiny_thing-1.0.dist-info"
    with ZipFile(path, "w") as archive:
        archive.writestr("tiny_thing.py", "print('tiny')\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_the_database_runs_from_a_copy_where_its_account_can_not_read_the_original(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres, "_reachable", lambda _: False)
    with tempfile.TemporaryDirectory(prefix="kirby-home-") as folder:
        home = home_folder(Path(folder))
        part = PostgresPart(home / "postgres", port=free_port(), password="pw")
        private_folder(home / "postgres", owner=postgres.ACCOUNT if os.geteuid() == 0 else None)
        part._copy_if_unreachable()
        running = start_together([part], logs=private_folder(home / "logs"))
        try:
            assert part.sql("SELECT 1") == "1"
        finally:
            stop_all(running)
