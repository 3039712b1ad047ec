"""Errors of an HTTP service as RFC 9457 problem+json, made in one place; `detail` is the sentence for the user.

No answer and no log line ever repeats what the request held: a request may hold a secret.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """The request can't be met: `status` and a sentence that says what to do."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def problem_response(status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def validation_sentence(errors: Sequence[Mapping[str, Any]]) -> str:
    """The first of a validator's errors in words, without the value that was wrong."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path", "header"))
    what = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def install(
    app: Starlette,
    *,
    store_errors: Sequence[type[Exception]] = (),
    is_passing: Callable[[BaseException], bool] = lambda _: False,
) -> None:
    """Registers the handlers; a store error that `is_passing` knows is a 503, any other a 500."""

    async def told(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return problem_response(error.status, error.detail)

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return problem_response(error.status_code, str(error.detail), headers=error.headers)

    async def failed(request: Request, error: Exception) -> JSONResponse:
        if is_passing(error):
            log.warning("http.store_absent", path=request.url.path, error=type(error).__name__)
            return problem_response(503, "the database can't be reached now; try again", headers={"Retry-After": "2"})
        log.error("http.failed", path=request.url.path, exc_info=error)
        return problem_response(500, "this request failed; the service's log says why")

    app.add_exception_handler(Problem, told)
    app.add_exception_handler(HTTPException, http)
    for kind in (*store_errors, Exception):
        app.add_exception_handler(kind, failed)
