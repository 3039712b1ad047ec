"""Where the suite lies for browsers: `/`, or a sub-path of a reverse proxy."""

import re
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from kirby_api.settings import ApiSettings

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


def configured_path(settings: ApiSettings) -> str:
    """The path of KIRBY_PUBLIC_URL, with a slash at its end."""
    return urlsplit(settings.kirby_public_url).path.rstrip("/") + "/"


def base_path(request: Request, settings: ApiSettings) -> str:
    """The path before every link, with a slash at its end: the proxy's X-Forwarded-Prefix, else the public URL's."""
    forwarded = request.headers.get("x-forwarded-prefix", "")
    if forwarded and _PREFIX.fullmatch(forwarded):
        return forwarded.rstrip("/") + "/"
    return configured_path(settings)


def is_https(request: Request, settings: ApiSettings) -> bool:
    """Whether the browser speaks TLS; then cookies are for TLS only."""
    forwarded = request.headers.get("x-forwarded-proto", request.url.scheme)
    return forwarded.split(",")[0].strip() == "https" or settings.kirby_public_url.startswith("https://")


class StripPrefix:
    """Accepts requests with the sub-path and without it, so the proxy may cut it off or not."""

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        self._app = app
        self._prefix = prefix.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._prefix and scope["type"] == "http":
            path: str = scope["path"]
            if path == self._prefix or path.startswith(self._prefix + "/"):
                scope = {**scope, "path": path[len(self._prefix) :] or "/", "raw_path": None}
        await self._app(scope, receive, send)
