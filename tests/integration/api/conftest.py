"""The web role on real stores, served on a real socket, with an admin's and a viewer's client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass

import httpx2
import pytest
from kirby_api.access import accounts
from kirby_api.app import create_app
from kirby_api.main import open_resources
from kirby_api.resources import Resources
from kirby_api.settings import ApiSettings
from kirby_common.kafka import KafkaTopicAdmin
from kirby_common.runtime import http_server, listen
from kirby_common.settings import KafkaSettings
from kirby_common.topics import registry


@dataclass
class Served:
    """A running web role; `admin` and `viewer` hold API tokens, `nobody` holds none."""

    url: str
    parts: Resources
    admin: httpx2.AsyncClient
    viewer: httpx2.AsyncClient
    nobody: httpx2.AsyncClient

    async def client(self, token: str | None) -> httpx2.AsyncClient:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx2.AsyncClient(base_url=f"{self.url}/api/v1", headers=headers, timeout=20)


async def token_for(parts: Resources, name: str, role: str) -> str:
    async with parts.sessions.begin() as db:
        user = await accounts.add_user(db, name=name, password_hash=None, role=role)
        return (await accounts.add_token(db, user, label="test"))[1]


@asynccontextmanager
async def serving(settings: ApiSettings, *, live: bool = False) -> AsyncIterator[Served]:
    """`live` starts the tails of logs and run events too."""
    bound = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    async with open_resources(settings) as parts:
        app = create_app(parts, version="test")
        async with http_server(app, bound=bound):
            parts.health.started = True
            await KafkaTopicAdmin(settings).ensure(registry())
            loops = [parts.relay.run(), *([parts.log_hub.run(), parts.event_hub.run()] if live else [])]
            running = [asyncio.create_task(loop) for loop in loops]
            if live:
                await asyncio.gather(parts.log_hub.ready(), parts.event_hub.ready())
            served = Served(url, parts, *([None] * 3))  # type: ignore[arg-type]
            served.admin = await served.client(await token_for(parts, "ada", "admin"))
            served.viewer = await served.client(await token_for(parts, "vic", "viewer"))
            served.nobody = await served.client(None)
            async with served.admin, served.viewer, served.nobody:
                yield served
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


def settings_for(database: str, kafka: KafkaSettings, redis_url: str, **more: object) -> ApiSettings:
    return ApiSettings(
        sqlalchemy_database_uri=database,
        kafka_bootstrap_servers=kafka.kafka_bootstrap_servers,
        redis_url=redis_url,
        secret_key="a secret key for tests only",
        security_password_salt="pepper for tests",
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
def api_settings(ledger_database: str, kafka_settings: KafkaSettings, redis_url: str) -> ApiSettings:
    return settings_for(ledger_database, kafka_settings, redis_url)


@pytest.fixture
async def served(api_settings: ApiSettings) -> AsyncIterator[Served]:
    async with serving(api_settings) as served:
        yield served


@pytest.fixture
async def live(api_settings: ApiSettings) -> AsyncIterator[Served]:
    """As `served`, with live streams."""
    async with serving(api_settings, live=True) as served:
        yield served


@pytest.fixture(scope="module")
async def shared_api(
    new_database: Callable[..., AbstractContextManager[str]],
    ledger_template: str,
    kafka_settings: KafkaSettings,
    redis_part: str,
) -> AsyncIterator[httpx2.AsyncClient]:
    """An admin's client for the tests of a module that leave everything as it was."""
    with new_database(template=ledger_template) as database:
        async with serving(settings_for(database, kafka_settings, redis_part)) as served:
            yield served.admin


@pytest.fixture
def api(served: Served) -> httpx2.AsyncClient:
    """An admin's client."""
    return served.admin
