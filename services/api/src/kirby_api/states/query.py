"""Reading States from the recorder's tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kirby.state.records import BadName, encode_key, log_topic
from kirby_common.ledger.tables import Environment, StateKey, StateLog, StateVersion
from sqlalchemy import Select, Table, func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller, Permission, Place
from kirby_api.paging import Page, cut, decode_cursor, encode_cursor
from kirby_api.problems import Invalid, NotFound
from kirby_api.states.difference import differences
from kirby_api.states.view import KeyChange, StateView, VersionsDiff, VersionView, comparable, version_view

_logs: Table = StateLog.__table__  # type: ignore[assignment]
_keys: Table = StateKey.__table__  # type: ignore[assignment]
_versions: Table = StateVersion.__table__  # type: ignore[assignment]


@dataclass(frozen=True)
class StateRef:
    """A State in an environment, and the topic with its truth."""

    name: str
    env: str
    topic: str

    def __str__(self) -> str:
        return f"State '{self.name}' in {self.env}"


async def prefixes(db: AsyncSession) -> dict[str, str]:
    """Each environment's prefix. `prod` is there before anybody has made it."""
    found = await db.execute(select(Environment.name, Environment.topic_prefix).order_by(Environment.name))
    return {"prod": ""} | {row.name: row.topic_prefix for row in found}


async def state_ref(db: AsyncSession, name: str, env: str, *, caller: Caller, permission: Permission) -> StateRef:
    """Raises `NotFound` for an unknown environment, `Invalid` for what is no name, `Forbidden`."""
    caller.require(permission, Place(env))
    known = await prefixes(db)
    if env not in known:
        raise NotFound(f"there is no environment '{env}'")
    try:
        return StateRef(name, env, log_topic(name, prefix=known[env]))
    except BadName as error:
        raise Invalid(str(error)) from error


def checked_key(key: str) -> str:
    """Raises `Invalid`."""
    try:
        encode_key(key)
    except BadName as error:
        raise Invalid(str(error)) from error
    return key


async def must_exist(db: AsyncSession, state: StateRef) -> StateLog:
    row = await db.get(StateLog, state.topic)
    if row is None:
        raise NotFound(f"there is no {state}: `kirby state ls` lists what there is, and setting a key makes one")
    return row


async def list_states(db: AsyncSession, *, caller: Caller, env: str | None) -> list[StateView]:
    """Those in environments where the caller may read, by name."""
    by_prefix = {prefix: name for name, prefix in reversed((await prefixes(db)).items())}
    rows = (await db.scalars(select(StateLog).order_by(StateLog.name, StateLog.prefix))).all()
    shown = []
    for row in rows:
        place = by_prefix.get(row.prefix)
        if place is not None and env in (None, place) and caller.may(Permission.READ, Place(place)):
            shown.append(await _view(db, row, place))
    return shown


async def one_state(db: AsyncSession, state: StateRef) -> StateView:
    return await _view(db, await must_exist(db, state), state.env)


async def _view(db: AsyncSession, row: StateLog, env: str) -> StateView:
    live = select(func.count()).select_from(_keys).where(_keys.c.topic == row.topic, _keys.c.value_offset.is_not(None))
    counted = select(func.count(), func.max(_versions.c.at)).where(_versions.c.topic == row.topic)
    versions, changed_at = (await db.execute(counted)).one()
    return StateView(
        name=row.name,
        env=env,
        partitions=row.partitions,
        owned=row.owned,
        keys=(await db.execute(live)).scalar_one(),
        versions=versions,
        changed_at=changed_at,
        problem=row.problem,
    )


def _newest(state: StateRef) -> Select[Any]:
    """Keys with their newest version."""
    same = (_versions.c.topic == _keys.c.topic) & (_versions.c.key == _keys.c.key)
    same &= _versions.c.version == _keys.c.version
    return select(_versions).join(_keys, same).where(_keys.c.topic == state.topic)


async def list_keys(
    db: AsyncSession, state: StateRef, *, prefix: str, deleted: bool, limit: int, cursor: str | None
) -> Page[VersionView]:
    """By key; a page's cursor is its last key."""
    query = _newest(state).order_by(_keys.c.key).limit(limit + 1)
    if prefix:
        query = query.where(_keys.c.key >= prefix, func.starts_with(_keys.c.key, prefix))
    if not deleted:
        query = query.where(_keys.c.value_offset.is_not(None))
    if cursor:
        query = query.where(_keys.c.key > str(decode_cursor(cursor, size=1)[0]))
    rows, more = cut((await db.execute(query)).all(), limit)
    return Page(items=[version_view(r) for r in rows], next=encode_cursor(rows[-1].key) if more else None)


async def find_version(
    db: AsyncSession, state: StateRef, key: str, *, version: int | None = None, as_of: datetime | None = None
) -> VersionView:
    """The newest version, one by its number, or the newest that was appended by then. Raises `NotFound`."""
    return version_view(await version_row(db, state, key, version=version, as_of=as_of))


async def version_row(
    db: AsyncSession, state: StateRef, key: str, *, version: int | None = None, as_of: datetime | None = None
) -> Any:
    """As `find_version`, the row itself."""
    query = select(_versions).where(_versions.c.topic == state.topic, _versions.c.key == checked_key(key))
    if version is not None:
        query = query.where(_versions.c.version == version)
    if as_of is not None:
        query = query.where(_versions.c.at <= as_of)
    row = (await db.execute(query.order_by(_versions.c.version.desc()).limit(1))).first()
    if row is not None:
        return row
    await must_exist(db, state)
    what = f"version {version} of " if version is not None else ""
    when = f" at {as_of.isoformat()}" if as_of is not None else ""
    raise NotFound(f"there is no {what}key '{key}' in {state}{when}")


async def key_history(
    db: AsyncSession, state: StateRef, key: str, *, limit: int, cursor: str | None
) -> Page[VersionView]:
    """Newest first. Raises `NotFound` for a key that has none."""
    query = select(_versions).where(_versions.c.topic == state.topic, _versions.c.key == checked_key(key))
    if cursor:
        query = query.where(_versions.c.version < int(decode_cursor(cursor, size=1)[0]))
    found = (await db.execute(query.order_by(_versions.c.version.desc()).limit(limit + 1))).all()
    if not found and not cursor:
        await find_version(db, state, key)
    rows, more = cut(found, limit)
    return Page(items=[version_view(r) for r in rows], next=encode_cursor(rows[-1].version) if more else None)


async def versions_diff(db: AsyncSession, state: StateRef, key: str, before: int, after: int) -> VersionsDiff:
    """Raises `NotFound`."""
    first = await find_version(db, state, key, version=before)
    second = await find_version(db, state, key, version=after)
    return VersionsDiff(before=first, after=second, changes=differences(comparable(first), comparable(second)))


async def changes_between(
    db: AsyncSession,
    state: StateRef,
    since: datetime,
    until: datetime,
    *,
    prefix: str,
    limit: int,
    cursor: str | None,
) -> Page[KeyChange]:
    """The keys with versions appended after `since` and by `until`, as they were at both instants."""
    if since >= until:
        raise Invalid("since: must be before until")
    window = (_versions.c.topic == state.topic) & (_versions.c.at > since) & (_versions.c.at <= until)
    query = select(_versions.c.key).where(window).distinct().order_by(_versions.c.key).limit(limit + 1)
    if prefix:
        query = query.where(func.starts_with(_versions.c.key, prefix))
    if cursor:
        query = query.where(_versions.c.key > str(decode_cursor(cursor, size=1)[0]))
    keys, more = cut((await db.scalars(query)).all(), limit)
    before, after = await _as_of(db, state, keys, since), await _as_of(db, state, keys, until)
    items = [
        KeyChange(
            key=key,
            before=before.get(key),
            after=after.get(key),
            changes=differences(comparable(before.get(key)), comparable(after.get(key))),
        )
        for key in keys
    ]
    return Page(items=items, next=encode_cursor(keys[-1]) if more else None)


async def _as_of(db: AsyncSession, state: StateRef, keys: Sequence[str], at: datetime) -> dict[str, VersionView]:
    query = (
        select(_versions)
        .where(_versions.c.topic == state.topic, _versions.c.key.in_(keys), _versions.c.at <= at)
        .order_by(_versions.c.key, _versions.c.version.desc())
        .ext(distinct_on(_versions.c.key))
    )
    return {row.key: version_view(row) for row in await db.execute(query)}
