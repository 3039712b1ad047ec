"""Signing in and out: sessions of browsers, one-time login links, and who am I."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from kirby_common.ledger.tables import User
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access import accounts
from kirby_api.access.gate import COOKIE, Parts, Public, Reader
from kirby_api.base_path import base_path, is_https
from kirby_api.problems import TooMany, Unauthenticated
from kirby_api.resources import Resources
from kirby_api.routes.documents import PROBLEMS

router = APIRouter(tags=["sign in"], responses=PROBLEMS)
links = APIRouter(tags=["sign in"], include_in_schema=False)


class Login(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "alice", "password": "correct horse"}]})

    name: str
    password: str


class Me(BaseModel):
    """`csrf` goes into the header X-CSRF-Token of every request that changes something; null for API tokens."""

    name: str
    role: Literal["admin", "viewer"]
    csrf: str | None
    version: str


class LoginLink(BaseModel):
    url: str
    expires_at: datetime


@router.post("/login", dependencies=[Public], summary="Open a session")
async def login(form: Login, request: Request, response: Response, parts: Parts) -> Me:
    address = request.client.host if request.client else "unknown"
    wait = await parts.throttle.seconds_to_wait(name=form.name, address=address)
    if wait:
        raise TooMany(f"too many attempts to sign in; try again in {wait} s", headers={"Retry-After": str(wait)})
    async with parts.sessions() as db:
        user = await accounts.user_by_name(db, form.name)
        active = user is not None and not user.disabled
        stored = user.password_hash if user is not None and active else None
    if not await parts.passwords.verify(stored, form.password) or user is None:
        raise Unauthenticated("the name or the password is wrong")
    await parts.throttle.forget(name=form.name, address=address)
    async with parts.sessions.begin() as db:
        opened = await _open(db, user, parts)
    _set_cookie(request, response, opened.id, parts)
    return Me(name=user.name, role=user.role, csrf=opened.csrf, version=parts.version)


@router.post("/logout", status_code=204, summary="Close the session")
async def logout(request: Request, response: Response, parts: Parts, caller: Reader) -> None:
    if caller.session is not None:
        async with parts.sessions.begin() as db:
            await accounts.close_session(db, caller.session)
    response.delete_cookie(COOKIE, path=base_path(request, parts.settings))


@router.get("/me", summary="Who am I")
async def me(parts: Parts, caller: Reader) -> Me:
    return Me(name=caller.name, role=caller.role, csrf=caller.csrf, version=parts.version)


@router.post("/login-links", status_code=201, summary="A link that opens a session of one's own, once")
async def create_login_link(request: Request, parts: Parts, caller: Reader) -> LoginLink:
    lifetime = parts.settings.login_link_lifetime
    async with parts.sessions.begin() as db:
        user = await db.get_one(User, caller.user_id)
        token = await accounts.add_login_link(db, user, lifetime=lifetime)
    base = parts.settings.kirby_public_url.rstrip("/")
    return LoginLink(url=f"{base}/login-link/{token}", expires_at=parts.clock.now() + lifetime)


@links.get("/login-link/{token}", dependencies=[Public])
async def login_link(token: str, request: Request, parts: Parts) -> Response:
    """Opens a session once, then leads to the UI."""
    path = base_path(request, parts.settings)
    async with parts.sessions.begin() as db:
        user = await accounts.take_login_link(db, token)
        opened = None if user is None else await _open(db, user, parts)
    if opened is None:
        return RedirectResponse(f"{path}login?link=used", status_code=303)
    response = RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store"})
    _set_cookie(request, response, opened.id, parts)
    return response


async def _open(db: AsyncSession, user: User, parts: Resources) -> accounts.OpenedSession:
    key = parts.settings.secret_key.get_secret_value()
    return await accounts.open_session(db, user, key=key, lifetime=parts.settings.kirby_session_lifetime)


def _set_cookie(request: Request, response: Response, session_id: str, parts: Resources) -> None:
    response.set_cookie(
        COOKIE,
        session_id,
        max_age=round(parts.settings.kirby_session_lifetime.total_seconds()),
        path=base_path(request, parts.settings),
        secure=is_https(request, parts.settings),
        httponly=True,
        samesite="lax",
    )
