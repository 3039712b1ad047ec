"""The web UI: built files, and `index.html` for every page that the browser's router knows."""

import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from kirby_api.access.gate import Parts, Public
from kirby_api.base_path import base_path
from kirby_api.problems import NotFound

router = APIRouter(include_in_schema=False, dependencies=[Public])
STATIC = Path(__file__).parent.parent / "static"
_BASE = '<base href="/" />'
_FOREVER = "public, max-age=31536000, immutable"
_NOT_BUILT = """<!doctype html><html lang=en><meta charset=utf-8><title>Kirby</title>
<body><h1>Kirby</h1><p>The web pages are not built into this installation. The <code>kirby</code> command and the
<a href="api/v1/docs">REST interface</a> work; <code>make dev</code> builds the pages.</body></html>"""


@router.get("/{path:path}", name="ui")
async def ui(path: str, request: Request, parts: Parts) -> Response:
    """A built file; else, for pages, `index.html` with the base path of this installation."""
    found = _file(path)
    if found is not None:
        caching = _FOREVER if path.startswith("assets/") else "no-cache"
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        return FileResponse(found, media_type=kind, headers={"Cache-Control": caching})
    # A page's path may hold a job's name, with dots and slashes: what the browser accepts tells pages from files.
    accepted = request.headers.get("accept", "*/*")
    if path.startswith(("api/", "assets/")) or not ("text/html" in accepted or accepted == "*/*"):
        raise NotFound(f"there is nothing at /{path}")
    return _page(base_path(request, parts.settings))


def _file(path: str) -> Path | None:
    """The built file of this path, never one outside the folder."""
    if not path or path == "index.html" or "\0" in path:
        return None
    found = (STATIC / path).resolve()
    return found if found.is_relative_to(STATIC.resolve()) and found.is_file() else None


def _page(base: str) -> HTMLResponse:
    index = STATIC / "index.html"
    text = index.read_text() if index.is_file() else _NOT_BUILT
    text = text.replace(_BASE, f'<base href="{base}" />').replace('<base href="/">', f'<base href="{base}">')
    return HTMLResponse(text, headers={"Cache-Control": "no-cache"})
