"""Suites that several end-to-end modules share."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from kirby.dev.parts import free_port
from playwright.sync_api import Browser, sync_playwright

from tests.e2e import ui_browser
from tests.e2e.composed import Composed
from tests.e2e.nginx_server import Nginx
from tests.stores.session import Stores
from tests.stores.suites import RunningSuite


@pytest.fixture(scope="session")
def composed(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[..., AbstractContextManager[str]]
) -> Iterator[Composed]:
    """What deploy/compose.yaml describes, without containers; its public address is that of `nginx`.

    It lives on while other tests run, so its Kafka and Redis are its own: theirs are no strangers' to write to.
    """
    folder = tmp_path_factory.mktemp("composed")
    own = Stores()
    own.start(["kafka", "redis"])
    try:
        with new_database() as database:
            address = f"https://localhost:{free_port()}/kirby"
            suite = Composed(
                folder, kafka=own.kafka.bootstrap, database=database, redis=own.redis.url, public_url=address
            )
            try:
                suite.start_all()
                yield suite
            finally:
                suite.stop()
    finally:
        own.stop()


@pytest.fixture(scope="session")
def nginx(composed: Composed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """nginx before `composed`, with TLS and below a sub-path."""
    port = int(composed.public_url.removesuffix("/kirby").rpartition(":")[2])
    server = Nginx(tmp_path_factory.mktemp("nginx"), port=port, api_port=composed.ports["api"])
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; for a module only, since no other event loop can run while this one is open."""
    with sync_playwright() as playwright:
        found = ui_browser.launch(playwright)
        yield found
        found.close()


@pytest.fixture(scope="module")
def signed_in_ui(suite: RunningSuite, browser: Browser) -> Iterator[ui_browser.Ui]:
    """The pages of `suite`; take `ui`."""
    found = ui_browser.Ui(suite, browser)
    yield found
    found.api.close()


@pytest.fixture
def ui(signed_in_ui: ui_browser.Ui) -> Iterator[ui_browser.Ui]:
    """The pages of `suite`, in a browser that has signed in. No page may complain."""
    yield signed_in_ui
    signed_in_ui.close_pages()
    complaints, signed_in_ui.complaints = signed_in_ui.complaints, []
    assert complaints == []
