"""The notifier's HTTP application: the delivery log, the signing secrets of webhooks, health."""

from dataclasses import asdict, replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from kirby_common.callers import Caller, identify, require_admin
from kirby_common.database import is_passing
from kirby_common.problems import Problem, install, problem_response, validation_sentence
from kirby_common.runtime import Health
from sqlalchemy.exc import DBAPIError
from starlette.responses import JSONResponse

from kirby_notifier.domain.attempts import State
from kirby_notifier.domain.signing import secret_for
from kirby_notifier.domain.targets import TargetRefused, parse_target, without_secrets
from kirby_notifier.ports import Notebook

router = APIRouter(prefix="/v1")


def create_app(*, health: Health, secret_key: str) -> FastAPI:
    """The application; `app.state.notebook` is set once the database is ready, until then it answers 503."""
    app = FastAPI(title="Kirby notifier", version=health.version)
    app.state.notebook = None
    app.state.secret_key = secret_key
    app.include_router(router)
    app.router.routes.extend(health.routes())
    install(app, store_errors=(DBAPIError, ConnectionError, TimeoutError), is_passing=is_passing)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


def _notebook(request: Request) -> Notebook:
    notebook: Notebook | None = request.app.state.notebook
    if notebook is None:
        raise Problem(503, "the notifier is starting: its database is not ready yet; try again")
    return notebook


def _caller(request: Request) -> Caller:
    return identify(request.headers.get("authorization"), key=request.app.state.secret_key)


Asks = Annotated[Caller, Depends(_caller)]


@router.get("/deliveries")
async def deliveries(
    caller: Asks,
    notebook: Annotated[Notebook, Depends(_notebook)],
    state: State | None = None,
    run_id: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: UUID | None = None,
) -> dict[str, Any]:
    """The delivery log, newest first. A viewer sees of a URL only the host: its path may hold a token."""
    found = await notebook.deliveries(state=state, run_id=run_id, before=cursor, limit=limit + 1)
    items = found[:limit]
    if not caller.is_admin:
        items = [replace(d, target=without_secrets(d.target)) if d.kind == "webhook" else d for d in items]
    return {"items": [asdict(item) for item in items], "next": items[-1].id if len(found) > limit else None}


@router.get("/webhooks/secret")
async def webhook_secret(caller: Asks, request: Request, response: Response, url: str) -> dict[str, str]:
    """With what messages to the URL are signed, for its receiver to check them."""
    require_admin(caller, what="reading signing secrets")
    try:
        parse_target(url)
    except TargetRefused as error:
        raise Problem(422, str(error)) from None
    response.headers["Cache-Control"] = "no-store"
    return {"url": url, "secret": secret_for(url, key=request.app.state.secret_key)}


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return problem_response(422, validation_sentence(error.errors()))
