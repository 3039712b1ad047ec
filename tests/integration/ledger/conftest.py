import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.ledger.world import World


@pytest.fixture
async def world(ledger_engine: AsyncEngine) -> World:
    return World(ledger_engine)
