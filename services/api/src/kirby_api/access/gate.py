"""The one dependency that every route declares: who asks, and whether they may.

`Needs(permission)` identifies the caller and checks that the permission is held somewhere; the use case then
checks it on the (environment, namespace) of what is asked for. `Public` says that a route needs none.
A test walks all routes and fails for one that declares neither.
"""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from kirby_common import assertions

from kirby_api.access.accounts import caller_of_session, caller_of_token
from kirby_api.access.permissions import Caller, Permission
from kirby_api.access.tokens import same
from kirby_api.problems import Forbidden, Unauthenticated
from kirby_api.resources import Resources, resources

COOKIE = "kirby_session"
CSRF_HEADER = "X-CSRF-Token"
_SAFE = {"GET", "HEAD", "OPTIONS"}


async def identify(request: Request, parts: Resources) -> Caller:
    """Who asks, by `Authorization: Bearer` or by the session's cookie. Raises `Unauthenticated`."""
    known: Caller | None = getattr(request.state, "caller", None)
    if known is None:
        known = await _identify(request, parts)
        request.state.caller = known
    return known


async def _identify(request: Request, parts: Resources) -> Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    async with parts.sessions() as db:
        if scheme.lower() == "bearer":
            caller = await caller_of_token(db, token.strip())
            if caller is None:
                raise Unauthenticated("the API token is unknown or over", headers={"WWW-Authenticate": "Bearer"})
            return caller
        cookie = request.cookies.get(COOKIE)
        if cookie:
            caller = await caller_of_session(db, cookie, key=parts.settings.secret_key.get_secret_value())
            if caller is not None:
                _check_csrf(request, caller)
                return caller
    raise Unauthenticated(
        "sign in, or send an API token as `Authorization: Bearer …`", headers={"WWW-Authenticate": "Bearer"}
    )


def _check_csrf(request: Request, caller: Caller) -> None:
    if request.method not in _SAFE and not same(request.headers.get(CSRF_HEADER, ""), caller.csrf or ""):
        raise Forbidden(f"the header {CSRF_HEADER} is missing or wrong; GET /api/v1/me tells it")


@dataclass(frozen=True)
class Needs:
    permission: Permission

    async def __call__(self, request: Request, parts: Annotated[Resources, Depends(resources)]) -> Caller:
        caller = await identify(request, parts)
        if not caller.holds(self.permission):
            caller.require(self.permission)
        return caller


@dataclass(frozen=True)
class NeedsOrRun(Needs):
    """As `Needs`, or the token of a run: the route limits by `run_id` what a script may do about itself."""

    async def __call__(self, request: Request, parts: Annotated[Resources, Depends(resources)]) -> Caller:
        script = _script(request, parts)
        return script if script is not None else await super().__call__(request, parts)


def _script(request: Request, parts: Resources) -> Caller | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    key = parts.settings.secret_key.get_secret_value()
    try:
        claims = assertions.verify(token.strip(), key=key, audience=assertions.RUN)
        run_id = UUID(claims["run_id"])
    except (assertions.BadAssertion, KeyError, ValueError):
        return None
    return Caller(user_id=run_id, name=f"run {run_id}", role="run", grants=(), run_id=run_id)


async def public() -> None:
    """Marks a route that anyone may call."""


Reader = Annotated[Caller, Depends(Needs(Permission.READ))]
TopicReader = Annotated[Caller, Depends(Needs(Permission.TOPICS_READ))]
Operator = Annotated[Caller, Depends(Needs(Permission.OPERATE))]
Configurer = Annotated[Caller, Depends(Needs(Permission.CONFIGURE))]
Administrator = Annotated[Caller, Depends(Needs(Permission.ADMINISTER))]
ConfigurerOrRun = Annotated[Caller, Depends(NeedsOrRun(Permission.CONFIGURE))]
ReaderOrRun = Annotated[Caller, Depends(NeedsOrRun(Permission.READ))]
OperatorOrRun = Annotated[Caller, Depends(NeedsOrRun(Permission.OPERATE))]
Public = Depends(public)
Parts = Annotated[Resources, Depends(resources)]
