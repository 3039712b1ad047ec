from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kirby.dev.index import IndexPart
from kirby_common.settings import KafkaSettings

from tests.chaos.crew import Crew, assembled
from tests.stores.session import INDEX_PASSWORD


@pytest.fixture
async def crew(
    ledger_database: str,
    redis_url: str,
    kafka_settings: KafkaSettings,
    index_part: IndexPart,
    index_url: str,
    tmp_path: Path,
) -> AsyncIterator[Crew]:
    async with assembled(
        uri=ledger_database, redis=redis_url, kafka=kafka_settings, index=index_url,
        upload=index_part.upload_url, password=INDEX_PASSWORD, folder=tmp_path,
    ) as crew:  # fmt: skip
        yield crew
