"""Accounts and API tokens."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter
from kirby_common.ledger.tables import ApiToken, User
from pydantic import AwareDatetime, ConfigDict, Field, SecretStr, StringConstraints
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access import accounts
from kirby_api.access.gate import Administrator, Parts, Reader
from kirby_api.access.passwords import Passwords, WeakPassword
from kirby_api.access.permissions import Permission
from kirby_api.kinds.kind import Form
from kirby_api.kinds.names import EnvironmentName, Text
from kirby_api.paging import Page
from kirby_api.problems import Invalid, NotFound
from kirby_api.routes.documents import PROBLEMS

router = APIRouter(tags=["users"], responses=PROBLEMS)
BoundRole = Literal["developer", "operator", "viewer"]
Role = Literal["admin", "developer", "operator", "viewer", "none"]


class NewUser(Form):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "bob", "password": "at least 8 characters", "role": "viewer"}]}
    )

    name: Text
    password: SecretStr | None = Field(default=None, description="without one, only tokens and login links open it")
    role: Role = "viewer"


class UserPatch(Form):
    password: SecretStr | None = None
    role: Role | None = None
    disabled: bool | None = None


class NewBinding(Form):
    """A role where the patterns match; `sales.*` is `sales` and all below it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"role": "operator", "env": "test", "namespace": "sales.*"}]}
    )

    role: BoundRole
    env: EnvironmentName | Literal["*"] = "*"
    namespace: Annotated[str, StringConstraints(pattern=r"^(\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?)$")] = "*"


class BindingView(Form):
    id: UUID
    role: str
    env: str
    namespace: str
    created_at: datetime
    created_by: str


class UserView(Form):
    id: UUID
    name: str
    role: str = Field(description="everywhere; `none`: only what `roles` says")
    roles: list[BindingView] = Field(default=[], description="besides, in some environments and namespaces")
    disabled: bool
    created_at: datetime


class NewToken(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [{"label": "ci"}]})

    label: Text = Field(default="", max_length=200)
    user: Text | None = Field(default=None, description="whose; admins only. Unset: the caller's")
    expires_at: AwareDatetime | None = None


class TokenView(Form):
    id: UUID
    user: str
    label: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    token: str | None = Field(default=None, description="only in the answer that made it")


@router.get("/users", summary="The users")
async def list_users(parts: Parts, caller: Administrator) -> Page[UserView]:
    async with parts.sessions() as db:
        users = (await db.scalars(select(User).order_by(User.name))).all()
        return Page(items=[await _view(db, user) for user in users])


@router.post("/users", status_code=201, summary="Add a user")
async def create_user(form: NewUser, parts: Parts, caller: Administrator) -> UserView:
    hashed = None if form.password is None else await _hash(parts.passwords, form.password)
    async with parts.sessions.begin() as db:
        return await _view(db, await accounts.add_user(db, name=form.name, password_hash=hashed, role=form.role))


@router.patch("/users/{ref}", summary="Change a user's password or role, or disable them")
async def update_user(ref: str, form: UserPatch, parts: Parts, caller: Administrator) -> UserView:
    hashed = None if form.password is None else await _hash(parts.passwords, form.password)
    async with parts.sessions.begin() as db:
        user = await _find(db, ref)
        if form.disabled or (form.role or user.role) != user.role:
            await _require_another_admin(db, user)
        user.role = form.role or user.role
        user.disabled = user.disabled if form.disabled is None else form.disabled
        user.password_hash = hashed or user.password_hash
        return await _view(db, user)


@router.delete("/users/{ref}", status_code=204, summary="Remove a user with their tokens")
async def delete_user(ref: str, parts: Parts, caller: Administrator) -> None:
    async with parts.sessions.begin() as db:
        await accounts.remove_user(db, await _find(db, ref))


@router.post("/users/{ref}/roles", status_code=201, summary="Give a user a role in some environments and namespaces")
async def bind_role(ref: str, form: NewBinding, parts: Parts, caller: Administrator) -> UserView:
    """The same again changes nothing."""
    async with parts.sessions.begin() as db:
        user = await _find(db, ref)
        await accounts.bind(db, user, role=form.role, env=form.env, namespace=form.namespace, by=caller.name)
        return await _view(db, user)


@router.delete("/users/{ref}/roles/{binding_id}", status_code=204, summary="Take back such a role")
async def unbind_role(ref: str, binding_id: UUID, parts: Parts, caller: Administrator) -> None:
    async with parts.sessions.begin() as db:
        await accounts.unbind(db, await _find(db, ref), binding_id)


@router.get("/tokens", summary="API tokens: one's own; admins see all")
async def list_tokens(parts: Parts, caller: Reader) -> Page[TokenView]:
    async with parts.sessions() as db:
        found = await accounts.tokens_of(db, caller, everyone=caller.may(Permission.ADMINISTER))
    return Page(items=[_token(row, name) for row, name in found])


@router.post("/tokens", status_code=201, summary="Make an API token; it is shown once")
async def create_token(form: NewToken, parts: Parts, caller: Reader) -> TokenView:
    if form.user not in (None, caller.name):
        caller.require(Permission.ADMINISTER)
    async with parts.sessions.begin() as db:
        user = await _find(db, form.user or caller.name)
        row, token = await accounts.add_token(db, user, label=form.label, expires_at=form.expires_at)
        return _token(row, user.name, token)


@router.delete("/tokens/{token_id}", status_code=204, summary="Take back an API token")
async def delete_token(token_id: UUID, parts: Parts, caller: Reader) -> None:
    async with parts.sessions.begin() as db:
        await accounts.remove_token(db, token_id, caller, everyone=caller.may(Permission.ADMINISTER))


async def _find(db: AsyncSession, ref: str) -> User:
    user = await accounts.user_by_name(db, ref)
    if user is None:
        try:
            user = await db.get(User, UUID(ref))
        except ValueError:
            user = None
    if user is None:
        raise NotFound(f"there is no user '{ref}'")
    return user


async def _require_another_admin(db: AsyncSession, user: User) -> None:
    admins = await db.scalar(select(func.count()).where(User.role == "admin", User.disabled.is_(False)))
    if user.role == "admin" and not user.disabled and admins == 1:
        raise Invalid(f"{user.name} is the only admin; add another one first")


async def _hash(passwords: Passwords, password: SecretStr) -> str:
    try:
        return await passwords.hash(password.get_secret_value())
    except WeakPassword as error:
        raise Invalid(str(error)) from error


async def _view(db: AsyncSession, user: User) -> UserView:
    bound = await accounts.bindings_of(db, user)
    return UserView(
        id=user.id, name=user.name, role=user.role, disabled=user.disabled, created_at=user.created_at,
        roles=[
            BindingView(
                id=b.id, role=b.role, env=b.env, namespace=b.namespace, created_at=b.created_at, created_by=b.created_by
            )
            for b in bound
        ],
    )  # fmt: skip


def _token(row: ApiToken, user: str, token: str | None = None) -> TokenView:
    return TokenView(
        id=row.id, user=user, label=row.label, created_at=row.created_at, expires_at=row.expires_at,
        last_used_at=row.last_used_at, token=token,
    )  # fmt: skip
