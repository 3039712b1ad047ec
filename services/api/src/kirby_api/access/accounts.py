"""Accounts, sessions and API tokens in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from kirby_common.ledger.tables import ApiToken, RoleBinding, Session, User
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import ROLES, Caller, grants_of
from kirby_api.access.tokens import csrf_of, hashed, new_token
from kirby_api.problems import Conflict, Invalid, NotFound

_USED_EVERY = timedelta(minutes=1)


async def user_by_name(db: AsyncSession, name: str) -> User | None:
    return (await db.scalars(select(User).where(User.name == name))).one_or_none()


def check_name(name: str) -> str:
    """A user's name as it is stored. Raises `Invalid`."""
    name = name.strip()
    if not 1 <= len(name) <= 100 or not name.isprintable() or "/" in name:
        raise Invalid("a user's name has 1 to 100 printable characters and no /")
    return name


async def add_user(db: AsyncSession, *, name: str, password_hash: str | None, role: str) -> User:
    """Raises `Conflict` when the name is taken, `Invalid` for an unknown role."""
    if role not in ROLES:
        raise Invalid(f"role '{role}' is unknown; choose one of {', '.join(ROLES)}")
    if await user_by_name(db, check_name(name)) is not None:
        raise Conflict(f"User {name} exists")
    user = User(name=check_name(name), password_hash=password_hash, role=role)
    db.add(user)
    await db.flush()
    await db.refresh(user)
    return user


async def remove_user(db: AsyncSession, user: User) -> None:
    """Raises `Conflict` rather than to remove the last admin."""
    admins = await db.scalar(select(func.count()).where(User.role == "admin", User.disabled.is_(False)))
    if user.role == "admin" and admins == 1:
        raise Conflict(f"{user.name} is the only admin; add another one first")
    await db.delete(user)


@dataclass(frozen=True)
class OpenedSession:
    """A new session: `id` goes into the cookie and is stored nowhere."""

    id: str
    user: User
    csrf: str


async def open_session(db: AsyncSession, user: User, *, key: str, lifetime: timedelta) -> OpenedSession:
    await db.execute(delete(Session).where(Session.expires_at < func.clock_timestamp()))
    session_id = new_token("")
    expires = func.clock_timestamp() + lifetime
    db.add(Session(id_hash=hashed(session_id), user_id=user.id, expires_at=expires))
    return OpenedSession(session_id, user, csrf_of(session_id, key=key))


async def close_session(db: AsyncSession, session_hash: str) -> None:
    await db.execute(delete(Session).where(Session.id_hash == session_hash))


async def caller_of_session(db: AsyncSession, session_id: str, *, key: str) -> Caller | None:
    found = (
        await db.scalars(
            select(User)
            .join(Session, Session.user_id == User.id)
            .where(Session.id_hash == hashed(session_id), Session.expires_at > func.clock_timestamp())
            .where(User.disabled.is_(False))
        )
    ).one_or_none()
    if found is None:
        return None
    return await _caller(db, found, session=hashed(session_id), csrf=csrf_of(session_id, key=key))


async def caller_of_token(db: AsyncSession, token: str) -> Caller | None:
    now = func.clock_timestamp()
    row = (
        await db.execute(
            select(User, ApiToken.id, ApiToken.last_used_at, now.label("now"))
            .join(ApiToken, ApiToken.user_id == User.id)
            .where(ApiToken.token_hash == hashed(token), ApiToken.kind == "api", User.disabled.is_(False))
            .where(or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > now))
        )
    ).one_or_none()
    if row is None:
        return None
    if row.last_used_at is None or row.now - row.last_used_at > _USED_EVERY:
        await db.execute(update(ApiToken).where(ApiToken.id == row.id).values(last_used_at=now))
        await db.commit()
    return await _caller(db, row.User)


async def _caller(db: AsyncSession, user: User, *, session: str | None = None, csrf: str | None = None) -> Caller:
    grants = list(grants_of(user.role))
    for bound in await bindings_of(db, user):
        grants += grants_of(bound.role, env=bound.env, namespace=bound.namespace)
    return Caller(user.id, user.name, user.role, tuple(grants), session, csrf)


async def bindings_of(db: AsyncSession, user: User) -> Sequence[RoleBinding]:
    """The roles that the user has in some environments and namespaces only."""
    mine = select(RoleBinding).where(RoleBinding.user_id == user.id)
    return (await db.scalars(mine.order_by(RoleBinding.env, RoleBinding.namespace, RoleBinding.role))).all()


async def bind(db: AsyncSession, user: User, *, role: str, env: str, namespace: str, by: str) -> None:
    """Gives the user a role where the patterns match; the same again changes nothing."""
    made = insert(RoleBinding).values(user_id=user.id, role=role, env=env, namespace=namespace, created_by=by)
    await db.execute(made.on_conflict_do_nothing())


async def unbind(db: AsyncSession, user: User, binding_id: UUID) -> None:
    """Raises `NotFound`."""
    mine = delete(RoleBinding).where(RoleBinding.id == binding_id, RoleBinding.user_id == user.id)
    if (await db.execute(mine.returning(RoleBinding.id))).one_or_none() is None:
        raise NotFound(f"{user.name} has no role {binding_id}")


async def add_token(
    db: AsyncSession, user: User, *, label: str, kind: str = "api", expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """The row and the token itself, which can't be read again."""
    token = new_token()
    row = ApiToken(token_hash=hashed(token), user_id=user.id, label=label, kind=kind, expires_at=expires_at)
    db.add(row)
    await db.flush()
    await db.refresh(row)
    return row, token


async def add_login_link(db: AsyncSession, user: User, *, lifetime: timedelta) -> str:
    """A token that opens one session, once."""
    expires: datetime = await db.scalar(select(func.clock_timestamp() + lifetime))  # type: ignore[assignment]
    return (await add_token(db, user, label="login link", kind="login_link", expires_at=expires))[1]


async def take_login_link(db: AsyncSession, token: str) -> User | None:
    """The user of a login link, which is used up by this."""
    taken = (
        await db.execute(
            delete(ApiToken)
            .where(ApiToken.token_hash == hashed(token), ApiToken.kind == "login_link")
            .returning(ApiToken.user_id, (ApiToken.expires_at > func.clock_timestamp()).label("valid"))
        )
    ).one_or_none()
    if taken is None or not taken.valid:
        return None
    user = await db.get(User, taken.user_id)
    return None if user is None or user.disabled else user


async def tokens_of(db: AsyncSession, caller: Caller, *, everyone: bool) -> Sequence[tuple[ApiToken, str]]:
    query = select(ApiToken, User.name).join(User).where(ApiToken.kind == "api").order_by(ApiToken.created_at)
    if not everyone:
        query = query.where(User.id == caller.user_id)
    return [(row.ApiToken, row.name) for row in await db.execute(query)]


async def remove_token(db: AsyncSession, token_id: object, caller: Caller, *, everyone: bool) -> None:
    query = delete(ApiToken).where(ApiToken.id == token_id, ApiToken.kind == "api")
    if not everyone:
        query = query.where(ApiToken.user_id == caller.user_id)
    if (await db.execute(query.returning(ApiToken.id))).one_or_none() is None:
        raise NotFound(f"there is no token {token_id}")
