"""`WebClient`: the methods of a session, with a base address, tried again, and JSON for an answer."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

from kirby import _retry
from kirby._effects import effect
from kirby._serializers import needed
from kirby.webclient import READING

RETRIES: int = _retry.from_environment().tries
WAIT_BETWEEN_RETRIES: float = _retry.from_environment().wait


class WebClientError(Exception):
    """The service answered something else than 200, so often that it is no use to ask again."""


class WebClient:
    """`get`, `post` and every other method of `session` (requests or httpx2), for an endpoint below the base.

    An answer of 200 gives its parsed JSON; all else is tried `EXT_RETRIES` times with `EXT_WAIT_BETWEEN_RETRIES`
    seconds between, and then raises `WebClientError`.

    >>> from types import SimpleNamespace as Made
    >>> session = Made(get=lambda url, **more: Made(status_code=200, url=url, text="", json=lambda: {"asked": url}))
    >>> WebClient("met", "https://met.test/", session).get("stations")
    {'asked': 'https://met.test/stations'}
    """

    def __init__(self, name: str, web_endpoint_base: str, session: Any = None) -> None:
        self.name = name
        self.web_endpoint_base = web_endpoint_base
        self._session = session or needed("httpx2", extra="web", what="WebClient").Client(follow_redirects=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def __getattr__(self, item: str) -> Callable[..., Any]:
        method = getattr(self._session, item)
        if not callable(method):
            raise AttributeError(f"'WebClient' object has no attribute {item!r}")

        def request(endpoint: str, **more: Any) -> Any:
            if item.upper() not in READING:
                effect(f"{item.upper()} {urljoin(self.web_endpoint_base, endpoint)}")
            for attempt in range(1, RETRIES + 1):
                result = method(urljoin(self.web_endpoint_base, endpoint), **more)
                if result.status_code == 200:
                    return result.json()
                if attempt < RETRIES:
                    time.sleep(WAIT_BETWEEN_RETRIES)
            raise WebClientError(f"{item} of {result.url}: status {result.status_code}, response: {result.text}")

        return request
