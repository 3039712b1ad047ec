"""The api's errors: each is a sentence for the user, made into RFC 9457 problem+json in one place.

`Problem` and its children are permanent (asking again changes nothing), except `Unavailable` and `TooMany`.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from kirby_common.database import is_passing
from sqlalchemy.exc import DBAPIError, IntegrityError
from starlette.exceptions import HTTPException

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is not what was asked for. `detail` is one sentence that says what to do."""

    status = 400
    slug = "bad-request"

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra


class Unauthenticated(Problem):
    status, slug = 401, "not-signed-in"


class Forbidden(Problem):
    status, slug = 403, "not-allowed"


class NotFound(Problem):
    status, slug = 404, "not-found"


class Conflict(Problem):
    status, slug = 409, "conflict"


class Gone(Problem):
    status, slug = 410, "gone"


class ChangedMeanwhile(Problem):
    status, slug = 412, "changed-meanwhile"


class TooLarge(Problem):
    status, slug = 413, "too-large"


class Invalid(Problem):
    status, slug = 422, "invalid"


class TooMany(Problem):
    status, slug = 429, "too-many-attempts"


class Broken(Problem):
    """Another part answered nonsense, or refused without a reason of the user's."""

    status, slug = 502, "upstream"


class Unavailable(Problem):
    status, slug = 503, "unavailable"


def answer(
    status: int, detail: str, *, slug: str, headers: Mapping[str, str] | None = None, extra: Mapping[str, Any] | None
) -> JSONResponse:
    """A problem+json response."""
    body = {
        "type": f"urn:kirby:problem:{slug}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **(extra or {}),
    }
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def sentence(errors: list[Any]) -> str:
    """The first thing wrong with a request, in words: `where: what`."""
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path", "header"))
    what = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


async def _problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return answer(error.status, error.detail, slug=error.slug, headers=error.headers, extra=error.extra)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [{"loc": list(e["loc"]), "msg": e["msg"], "type": e["type"]} for e in error.errors()]
    return answer(422, sentence(errors), slug="invalid", extra={"errors": errors})


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return answer(error.status_code, str(error.detail), slug="http", headers=error.headers, extra=None)


async def _database(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DBAPIError)
    if isinstance(error, IntegrityError):
        log.info("request.conflict", path=request.url.path, error=str(error.orig))
        return answer(409, "this clashes with something made at the same moment; look again", slug="conflict", extra={})
    if is_passing(error):
        return await _absent(request, error)
    return await _unexpected(request, error)


async def _absent(request: Request, error: Exception) -> JSONResponse:
    log.warning("request.store_absent", path=request.url.path, error=str(error).split("\n")[0])
    return answer(
        503, "the database can't be reached now; try again", slug="unavailable", headers={"Retry-After": "2"}, extra={}
    )


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("request.failed", path=request.url.path, exc_info=error)
    return answer(500, "the api failed on this request; its log says why", slug="failed", extra={})


def install(app: FastAPI) -> None:
    """Registers the one handler per family of errors."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(ConnectionError, _absent)
    app.add_exception_handler(Exception, _unexpected)
