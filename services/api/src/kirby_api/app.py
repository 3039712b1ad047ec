"""The web role's HTTP application: routers, problems, headers; nothing is connected here."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts

from kirby_api import problems
from kirby_api.access.gate import Needs
from kirby_api.base_path import StripPrefix
from kirby_api.headers import SecurityHeaders
from kirby_api.kinds.registry import KINDS
from kirby_api.resources import Resources
from kirby_api.routes import (
    alerts,
    auth,
    backfills,
    daemons,
    deployments,
    docs_page,
    imports,
    lineage,
    logs,
    messages,
    original,
    packages,
    previews,
    proxies,
    rewinds,
    runs,
    states,
    streams,
    stretches,
    suite,
    supervisors,
    ui,
    users,
)
from kirby_api.routes.crud import crud_router
from kirby_api.routes.documents import ProblemDocument

API = "/api/v1"
_PROBES = {"/healthz", "/readyz"}
DESCRIPTION = """Everything the `kirby` command and the web UI do. Send an API token as `Authorization: Bearer …`.
Problems are RFC 9457; their `detail` is a sentence. Lists are pages: `{"items": […], "next": cursor}`."""


def routers() -> Sequence[APIRouter]:
    """The routers below /api/v1. Kinds come last: their paths take names with slashes."""
    return (
        auth.router,
        suite.router,
        users.router,
        streams.router,
        runs.router,
        backfills.router,
        rewinds.router,
        logs.router,
        alerts.router,
        daemons.router,
        deployments.router,
        supervisors.router,
        packages.router,
        imports.router,
        states.router,
        messages.router,
        stretches.router,
        lineage.router,
        previews.router,
        proxies.router,
        *(crud_router(kind) for kind in KINDS),
    )


def create_app(resources: Resources | None, *, version: str, prefix: str = "/") -> FastAPI:
    """The application. Without resources it can only tell its OpenAPI document."""
    app = FastAPI(
        title="Kirby",
        version=version,
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.resources = resources
    for router in routers():
        app.include_router(router, prefix=API)
    if resources is not None:
        app.router.routes.extend(resources.health.routes())
    app.include_router(docs_page.router, prefix=API)
    app.include_router(auth.links)
    app.include_router(original.router)
    app.include_router(ui.router)
    problems.install(app)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(StripPrefix, prefix=prefix)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with who may call what."""
    if app.openapi_schema is None:
        made = FastAPI.openapi(app)
        components = made.setdefault("components", {})
        components.setdefault("schemas", {})["ProblemDocument"] = ProblemDocument.model_json_schema()
        components["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer"},
            "session": {"type": "apiKey", "in": "cookie", "name": "kirby_session"},
        }
        _tell_permissions(app, made)
        app.openapi_schema = made
    return app.openapi_schema


def _tell_permissions(app: FastAPI, made: dict[str, Any]) -> None:
    for route, permission in permissions(app):
        operations = made["paths"].get(route.path_format, {})
        for method in route.methods:
            operation = operations.get(method.lower())
            if operation is not None and permission is not None:
                operation["security"] = [{"token": []}, {"session": []}]
                operation["x-permission"] = permission


def permissions(app: FastAPI) -> list[tuple[Any, str | None]]:
    """Each API route with the permission it declares; None for a public one. Raises `LookupError` naming a route
    that declares nothing.
    """
    found: list[tuple[Any, str | None]] = []
    for route in cast(Iterator[Any], iter_route_contexts(app.routes)):
        dependant = getattr(route, "dependant", None)
        if dependant is None:
            if route.path not in _PROBES:
                raise LookupError(f"{route.name} ({route.path}) declares no permission")
            continue
        calls = [d.call for d in dependant.dependencies]
        needs = [call.permission.value for call in calls if isinstance(call, Needs)]
        if not needs and not any(getattr(call, "__name__", "") == "public" for call in calls):
            raise LookupError(f"{route.name} ({getattr(route, 'path', '')}) declares no permission")
        found.append((route, needs[0] if needs else None))
    return found
