"""The compose file and the Dockerfiles: their form, and that they name only what there is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

from tests.e2e.compose_file import DEPLOY, KIRBY_SERVICES, Unset, load_compose

ROOT = DEPLOY.parent
SCHEMA = json.loads(Path(__file__).with_name("compose.schema.json").read_text())
VARIABLES = {"POSTGRES_PASSWORD": "pw", "SECRET_KEY": "k" * 32, "SECURITY_PASSWORD_SALT": "s" * 32}
DOCKERFILES = sorted((DEPLOY / "docker").glob("*.Dockerfile"))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return load_compose(VARIABLES)


def test_the_form_is_that_of_the_compose_specification(compose: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert [e.message for e in Draft202012Validator(SCHEMA).iter_errors(compose)] == []


@pytest.mark.parametrize("missing", sorted(VARIABLES))
def test_a_secret_that_is_not_set_stops_it(missing: str) -> None:
    with pytest.raises(Unset, match=missing):
        load_compose({name: value for name, value in VARIABLES.items() if name != missing})


def test_it_names_only_what_it_declares(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service["networks"]) <= set(compose["networks"])
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(compose["volumes"])
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        if build := service.get("build"):
            assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_whoever_is_waited_for_says_when_it_is_ready(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in compose["services"][name], name


def test_every_service_and_store_is_in_it(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"kafka", "postgres", "redis", "index", "sdk", *KIRBY_SERVICES}


def variables_of(settings: type[BaseSettings]) -> Iterator[str]:
    for name, field in settings.model_fields.items():
        yield name.upper()
        aliases = field.validation_alias
        if isinstance(aliases, AliasChoices):
            yield from (choice.upper() for choice in aliases.choices if isinstance(choice, str))
        elif isinstance(aliases, str):
            yield aliases.upper()


@pytest.mark.parametrize("service", sorted(KIRBY_SERVICES))
def test_a_service_knows_every_variable_that_it_gets(service: str, compose: dict[str, Any]) -> None:
    known = set(variables_of(resolve_name(KIRBY_SERVICES[service])))
    assert set(compose["services"][service]["environment"]) - known == set()


@pytest.mark.parametrize("service", ["worker"])
def test_a_worker_gets_no_key_and_no_database(service: str, compose: dict[str, Any]) -> None:
    secret = {"SQLALCHEMY_DATABASE_URI", "SECRET_KEY", "SECURITY_PASSWORD_SALT", "REDIS_URL"}
    assert not secret & set(compose["services"][service]["environment"])


def test_there_is_one_image_a_service() -> None:
    assert [file.stem for file in DOCKERFILES] == ["api", "notifier", "scheduler", "vault", "worker"]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_an_image_is_debian_slim_unprivileged_and_copies_what_there_is(file: Path) -> None:
    text = file.read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert all("slim" in base and "trixie" in base for base in bases), bases
    assert re.search(r"^USER kirby$", text, re.MULTILINE)
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_an_image_installs_the_pinned_uv(file: Path) -> None:
    pin = re.search(r"^uv==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert pin is not None
    assert f"uv=={pin[1]} " in file.read_text().replace("\n", " ")
