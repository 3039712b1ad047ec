"""The vault's HTTP application: routes, health, and errors as sentences."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from kirby_common.database import is_passing
from kirby_common.problems import install, problem_response, validation_sentence
from kirby_common.runtime import Health
from sqlalchemy.exc import DBAPIError
from starlette.responses import JSONResponse

from kirby_vault.errors import Absent, BadName, Denied, Tampered, VaultError
from kirby_vault.routes import router

_STATUS: dict[type[VaultError], int] = {BadName: 422, Denied: 403, Absent: 404, Tampered: 500}


def create_app(*, health: Health, secret_key: str) -> FastAPI:
    """The application; `app.state.vault` is set once the database is ready, until then it answers 503."""
    app = FastAPI(title="Kirby vault", version=health.version)
    app.state.vault = None
    app.state.secret_key = secret_key
    app.include_router(router)
    app.router.routes.extend(health.routes())
    install(app, store_errors=(DBAPIError, ConnectionError, TimeoutError), is_passing=is_passing)
    app.add_exception_handler(VaultError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


async def _refused(_: Request, error: Exception) -> JSONResponse:
    return problem_response(_STATUS.get(type(error), 500) if isinstance(error, VaultError) else 500, str(error))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Without the input that FastAPI would repeat: it may be a secret."""
    assert isinstance(error, RequestValidationError)
    return problem_response(422, validation_sentence(error.errors()))
