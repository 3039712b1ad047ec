"""Fixtures of the real stores. A server that can't be started fails the tests that want it; nothing is skipped."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import pytest_asyncio
from kirby.dev.index import IndexPart
from kirby.dev.kafka import KafkaPart
from kirby.dev.postgres import PostgresPart
from kirby_common.database import connect
from kirby_common.ledger import schema
from kirby_common.settings import KafkaSettings
from redis import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.stores.session import Stores
from tests.stores.suites import RunningSuite, new_home

_PARTS = ("kafka", "postgres", "redis", "index")
_TEMPLATE = "ledger_template"


@pytest.fixture(scope="session")
def stores(request: pytest.FixtureRequest) -> Iterator[Stores]:
    """Starts, together, those servers that the collected tests ask for."""
    asked = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    all_of_them = Stores()
    try:
        all_of_them.start(part for part in _PARTS if f"{part}_part" in asked)
        yield all_of_them
    finally:
        all_of_them.stop()


@pytest.fixture(scope="session")
def kafka_part(stores: Stores) -> KafkaPart:
    stores.start(["kafka"])
    return stores.kafka


@pytest.fixture(scope="session")
def postgres_part(stores: Stores) -> PostgresPart:
    stores.start(["postgres"])
    return stores.postgres


@pytest.fixture(scope="session")
def redis_part(stores: Stores) -> str:
    stores.start(["redis"])
    return stores.redis.url


@pytest.fixture(scope="session")
def index_part(stores: Stores) -> IndexPart:
    stores.start(["index"])
    return stores.index


@pytest.fixture(scope="session")
def kafka_bootstrap(kafka_part: KafkaPart) -> str:
    """`host:port` of the broker; auto-creation of topics is off."""
    return kafka_part.bootstrap


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[KafkaPart]:
    """A broker for one module, whose services read Kirby's own topics from their beginning."""
    own = Stores()
    own.start(["kafka"])
    yield own.kafka
    own.stop()


@pytest.fixture(scope="session")
def kafka_settings(kafka_bootstrap: str) -> KafkaSettings:
    return KafkaSettings(kafka_bootstrap_servers=kafka_bootstrap)


@pytest.fixture(scope="session")
def postgres_uri(postgres_part: PostgresPart) -> str:
    """The server's own database, which tests leave alone: take `database` or `ledger_database`."""
    return postgres_part.uri()


@pytest.fixture(scope="session")
def new_database(postgres_part: PostgresPart) -> Callable[..., AbstractContextManager[str]]:
    """`with new_database(template="template1") as address`: a database of one's own, dropped afterwards."""

    @contextmanager
    def make(*, template: str = "template1") -> Iterator[str]:
        name = f"t_{uuid.uuid4().hex[:12]}"
        postgres_part.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield postgres_part.uri(name)
        postgres_part.sql(f"DROP DATABASE {name} WITH (FORCE)")

    return make


@pytest.fixture
def database(new_database: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    """The address of a new, empty database."""
    with new_database() as address:
        yield address


@pytest.fixture(scope="module")
def module_database(new_database: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    """As `database`, shared by the tests of a module."""
    with new_database() as address:
        yield address


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ledger_template(postgres_part: PostgresPart) -> str:
    """The name of a database with the ledger's schema, migrated once, to be copied."""
    postgres_part.sql(f"CREATE DATABASE {_TEMPLATE}")
    engine = connect(postgres_part.uri(_TEMPLATE), application="tests", pool_size=1)
    await schema.prepare(engine)
    await engine.dispose()
    return _TEMPLATE


@pytest.fixture
def ledger_database(new_database: Callable[..., AbstractContextManager[str]], ledger_template: str) -> Iterator[str]:
    """The address of a new database with the ledger's schema."""
    with new_database(template=ledger_template) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def ledger_engine(ledger_database: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a new database with the ledger's schema."""
    engine = connect(ledger_database, application="tests")
    yield engine
    await engine.dispose()


@pytest.fixture
def redis_url(redis_part: str) -> str:
    """A Redis database, emptied. Not the one where the suites that run beside the tests elect their leaders."""
    address = f"{redis_part}/1"
    with Redis.from_url(address) as client:
        client.flushdb()
    return address


@pytest.fixture(scope="session")
def index_url(index_part: IndexPart) -> str:
    """The private index as installers take it (`…/simple/`)."""
    return index_part.url


@pytest.fixture
def unique_name() -> Callable[[str], str]:
    """`unique_name("sensor")` → `sensor-1a2b3c4d`, for topics, jobs and workers of one test."""
    return lambda stem: f"{stem}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def topic_prefix(unique_name: Callable[[str], str]) -> str:
    """A prefix that makes the topics of one test its own."""
    return unique_name("t") + "."


@pytest.fixture(scope="session")
def suite() -> Iterator[RunningSuite]:
    """The whole of Kirby, running, without the demo. All end-to-end tests share it: use names of your own."""
    with new_home() as running:
        running.start("--no-demo")
        yield running
