"""Which parts a suite has and what each is told; nothing is started."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kirby.dev.home import Home, HomeUnusable
from kirby.dev.lifeline import Lifeline
from kirby.dev.suite import Suite, build

_STORES = ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_USE_SSL", "KAFKA_SSL_CAFILE", "SQLALCHEMY_DATABASE_URI", "REDIS_URL")


@pytest.fixture(autouse=True)
def _bare_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_STORES, "SECRET_KEY", "SECURITY_PASSWORD_SALT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def lifeline() -> Iterator[Lifeline]:
    made = Lifeline()
    yield made
    made.close()


@pytest.fixture
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="kirby-home-") as folder:
        made = Home(Path(folder))
        made.make()
        yield made


def _names(suite: Suite) -> list[str]:
    return [one.part.name for one in suite.kept]


def test_every_part_has_a_port_of_its_own(home: Home, lifeline: Lifeline) -> None:
    suite = build(home, lifeline=lifeline, supervisors=3)
    ports = [one.part.port for one in suite.kept]
    assert len(set(ports)) == len(ports) == 4 + 4 + 2 * 3
    assert _names(suite)[-2:] == ["scheduler-3", "worker-3"]
    assert suite.url == build(home, lifeline=lifeline).url


def test_stores_that_are_named_are_used_instead(
    home: Home, lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:9093")
    monkeypatch.setenv("KAFKA_USE_SSL", "true")
    monkeypatch.setenv("KAFKA_SSL_CAFILE", "/ca.pem")
    monkeypatch.setenv("SQLALCHEMY_DATABASE_URI", "postgres://me:pw@db/kirby")
    monkeypatch.setenv("REDIS_URL", "redis://cache:6379")
    suite = build(home, lifeline=lifeline)
    assert not {"kafka", "postgres", "redis"} & set(_names(suite))
    assert suite.external == ("kafka", "postgres", "redis")
    api = suite.environments["api"]
    assert api["SQLALCHEMY_DATABASE_URI"] == "postgres://me:pw@db/kirby"
    assert api["REDIS_URL"] == "redis://cache:6379"
    for env in suite.environments.values():
        assert (env["KAFKA_BOOTSTRAP_SERVERS"], env["KAFKA_USE_SSL"]) == ("broker:9093", "true")
        assert env["KAFKA_SSL_CAFILE"] == "/ca.pem"


def test_another_database_than_postgres_is_refused(
    home: Home, lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLALCHEMY_DATABASE_URI", "///kirby.db")
    with pytest.raises(HomeUnusable, match="Kirby needs PostgreSQL"):
        build(home, lifeline=lifeline)


def test_scripts_keep_large_values_in_the_home_or_where_the_user_says(
    home: Home, lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KIRBY_OBJECTS_URL", raising=False)
    assert build(home, lifeline=lifeline).environments["worker"]["KIRBY_OBJECTS_URL"] == str(home.path / "objects")
    monkeypatch.setenv("KIRBY_OBJECTS_URL", "s3://states")
    assert build(home, lifeline=lifeline).environments["worker"]["KIRBY_OBJECTS_URL"] == "s3://states"


def test_scripts_of_another_user_keep_large_values_where_that_user_can(
    home: Home, lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIRBY_RUN_AS", "nobody")
    assert "KIRBY_OBJECTS_URL" not in build(home, lifeline=lifeline).environments["worker"]


def test_a_worker_is_told_no_secret_but_the_index_password(home: Home, lifeline: Lifeline) -> None:
    suite = build(home, lifeline=lifeline)
    worker = suite.environments["worker"]
    secrets = {home.secret("secret-key"), home.secret("password-salt"), home.secret("postgres")}
    assert not secrets & set(worker.values())
    assert not [value for value in worker.values() if home.secret("postgres") in value]


def test_settings_of_the_user_reach_the_services(
    home: Home, lifeline: Lifeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIRBY_LEASE", "2s")
    monkeypatch.setenv("KIRBY_TOKEN", "someone else's")
    monkeypatch.setenv("UNRELATED", "x")
    for env in build(home, lifeline=lifeline).environments.values():
        assert env["KIRBY_LEASE"] == "2s"
        assert not {"KIRBY_TOKEN", "UNRELATED"} & set(env)
