from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import pytest_asyncio
from kirby.dev.index import IndexPart
from kirby_common.database import connect
from kirby_common.settings import KafkaSettings
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.ledger.world import World
from tests.integration.worker.worker_suite import WorkerSuite, worker_suite


@pytest.fixture
async def bare_suite(
    ledger_engine: AsyncEngine,
    kafka_settings: KafkaSettings,
    index_part: IndexPart,
    tmp_path: Path,
    unique_name: Callable[[str], str],
) -> AsyncIterator[WorkerSuite]:
    """The suite without its ledger endpoint, which the test serves itself."""
    world = World(ledger_engine)
    prefix = unique_name(".offers")
    async with worker_suite(world, kafka_settings, index_part, folder=tmp_path, prefix=prefix) as suite:
        yield suite


@pytest.fixture
async def suite(bare_suite: WorkerSuite) -> AsyncIterator[WorkerSuite]:
    """The suite, its ledger endpoint served; the test starts and ends workers as it likes."""
    async with bare_suite.ledger.serving():
        yield bare_suite


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def steady(
    new_database: Callable[..., AbstractContextManager[str]],
    ledger_template: str,
    kafka_settings: KafkaSettings,
    index_part: IndexPart,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[WorkerSuite]:
    """A suite with one worker, shared by all tests that leave the worker alone."""
    folder = tmp_path_factory.mktemp("steady")
    with new_database(template=ledger_template) as address:
        engine = connect(address, application="steady")
        world = World(engine)
        async with (
            worker_suite(world, kafka_settings, index_part, folder=folder, prefix=".offers.steady") as suite,
            suite.ledger.serving(),
        ):
            await suite.start()
            yield suite
        await engine.dispose()
