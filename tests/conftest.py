"""The stores of all tests, and what every test process starts from."""

import signal
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.stores.fixtures import (
    database,
    index_part,
    index_url,
    kafka_bootstrap,
    kafka_part,
    kafka_settings,
    ledger_database,
    ledger_engine,
    ledger_template,
    module_database,
    new_database,
    own_kafka,
    postgres_part,
    postgres_uri,
    redis_part,
    redis_url,
    stores,
    suite,
    topic_prefix,
    unique_name,
)

# How long an example takes says how busy the machine is, and nothing else.
settings.register_profile("kirby", deadline=None)
settings.load_profile("kirby")

# Whoever started us may have had us ignore Ctrl-C, as shells do with what they put in the background;
# what we start would inherit that, and the tests that press it would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Several processes share the work (pytest-xdist). What takes longest goes first, so that none is left alone with it.
_ORDER = ("tests/e2e", "tests/chaos", "tests/integration", "tests/contract", "tests/unit")
# A module stays together; end-to-end modules stay together with all that use the same running suite. And what kills
# processes under a short lease is never beside another of its kind: both would be short of processor time.
_WITH_COMPOSED = ("test_deploy_runs.py", "test_nginx.py", "test_ui_subpath.py")
_WITH_THEIR_OWN = (
    "test_deploy_files.py",
    "test_dev_home.py",
    "test_dist.py",
    "test_guide_pages.py",
    "test_guide_servers.py",
)


class _Together(LoadScopeScheduling):  # type: ignore[misc] # xdist ships no types for it.
    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    config.option.loadscopereorder = False
    return _Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (_place(item.nodeid), _group(item.nodeid)))


def _place(nodeid: str) -> int:
    return next((n for n, folder in enumerate(_ORDER) if nodeid.startswith(folder)), len(_ORDER))


def _group(nodeid: str) -> str:
    module = nodeid.partition("::")[0]
    folder, _, name = module.rpartition("/")
    if folder == "tests/chaos":
        return folder
    if folder != "tests/e2e" or name in _WITH_THEIR_OWN:
        return module
    return "tests/e2e, composed" if name in _WITH_COMPOSED else "tests/e2e, suite"


__all__ = [
    "database",
    "index_part",
    "index_url",
    "kafka_bootstrap",
    "kafka_part",
    "kafka_settings",
    "ledger_database",
    "ledger_engine",
    "ledger_template",
    "module_database",
    "new_database",
    "own_kafka",
    "postgres_part",
    "postgres_uri",
    "redis_part",
    "redis_url",
    "stores",
    "suite",
    "topic_prefix",
    "unique_name",
]
