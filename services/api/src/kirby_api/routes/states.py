"""States: tables that remember, read from the recorder's tables and written to their logs."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from kirby.state.rule import Op
from pydantic import BaseModel, ConfigDict, Field

from kirby_api.access.gate import Configurer, Operator, Parts, Reader
from kirby_api.access.permissions import Caller, Permission
from kirby_api.kinds.kind import Form
from kirby_api.paging import Cursor, Limit, Page
from kirby_api.problems import Invalid
from kirby_api.resources import Resources
from kirby_api.routes.documents import PROBLEMS
from kirby_api.routes.idempotent import IdempotentRoute
from kirby_api.runs.wait import Wait, wait_for
from kirby_api.states import query, writing
from kirby_api.states.query import StateRef
from kirby_api.states.view import KeyChange, StateView, VersionsDiff, VersionView

router = APIRouter(tags=["states"], responses=PROBLEMS, route_class=IdempotentRoute)

Env = Annotated[str, Query(description="the environment")]
Key = Annotated[str, Query(description="the key")]
Prefix = Annotated[str, Query(description="only keys that begin so")]
Expect = Annotated[int | None, Query(ge=0, description="only if the key has this version; 0: if it was never set")]
Number = Annotated[int | None, Query(ge=1, description="this version instead of the newest")]
Instant = Annotated[datetime | None, Query(description="as it was at this instant (append time)")]


class NewValue(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [{"value": {"celsius": 11.4}, "expect_version": 2}]})

    value: Any
    expect_version: int | None = Field(
        default=None, ge=0, description="only if the key has this version; 0: if it was never set"
    )


class OldVersion(Form):
    model_config = ConfigDict(json_schema_extra={"examples": [{"key": "Seattle", "version": 1}]})

    key: str
    version: int = Field(ge=1, description="the version to bring back, as a new one")
    expect_version: int | None = Field(default=None, ge=0)


class Rebuilding(BaseModel):
    """`done`: whether everything is folded again that was before."""

    done: bool


@router.get("/states", summary="The States")
async def list_states(
    parts: Parts, caller: Reader, env: Annotated[str | None, Query(description="only of this environment")] = None
) -> Page[StateView]:
    async with parts.sessions() as db:
        return Page(items=await query.list_states(db, caller=caller, env=env))


@router.get("/states/{name}", summary="One State")
async def get_state(name: str, parts: Parts, caller: Reader, env: Env = "prod") -> StateView:
    async with parts.sessions() as db:
        return await query.one_state(db, await _state(db, name, env, caller, Permission.READ))


@router.get("/states/{name}/keys", summary="A State's keys with their newest versions, in order")
async def list_state_keys(
    name: str,
    parts: Parts,
    caller: Reader,
    env: Env = "prod",
    prefix: Prefix = "",
    deleted: Annotated[bool, Query(description="those that are deleted, too")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[VersionView]:
    async with parts.sessions() as db:
        state = await _state(db, name, env, caller, Permission.READ)
        await query.must_exist(db, state)
        return await query.list_keys(db, state, prefix=prefix, deleted=deleted, limit=limit, cursor=cursor)


@router.get("/states/{name}/value", summary="A key's value: the newest, of a version, or as of an instant")
async def get_state_value(
    name: str,
    key: Key,
    parts: Parts,
    caller: Reader,
    env: Env = "prod",
    version: Number = None,
    as_of: Instant = None,
) -> VersionView:
    """A deleted key is found, with `deleted: true`."""
    if version is not None and as_of is not None:
        raise Invalid("version, as_of: give one of them")
    async with parts.sessions() as db:
        state = await _state(db, name, env, caller, Permission.READ)
        return await query.find_version(db, state, key, version=version, as_of=_aware(as_of))


@router.put("/states/{name}/value", summary="Set a key; makes the State when there is none")
async def set_state_value(
    name: str, key: Key, form: NewValue, parts: Parts, caller: Operator, env: Env = "prod"
) -> VersionView:
    """A key that has another version than the one expected is a 409 whose `version` is the current one."""
    state = await _for_writing(parts, name, env, caller)
    return await _appended(parts, caller, state, writing.set_value(key, form.value, form.expect_version))


@router.delete("/states/{name}/value", summary="Delete a key: a version without a value")
async def delete_state_value(
    name: str, key: Key, parts: Parts, caller: Operator, env: Env = "prod", expect_version: Expect = None
) -> VersionView:
    state = await _for_writing(parts, name, env, caller)
    async with parts.sessions() as db:
        await query.find_version(db, state, key)
    return await _appended(parts, caller, state, writing.Wanted(key, Op.DELETE, expect=expect_version))


@router.get("/states/{name}/history", summary="All versions of a key, newest first")
async def list_state_history(
    name: str, key: Key, parts: Parts, caller: Reader, env: Env = "prod", limit: Limit = 100, cursor: Cursor = None
) -> Page[VersionView]:
    async with parts.sessions() as db:
        state = await _state(db, name, env, caller, Permission.READ)
        return await query.key_history(db, state, key, limit=limit, cursor=cursor)


@router.post("/states/{name}/restore", summary="Bring an old version of a key back, as a new one")
async def restore_state_value(
    name: str, form: OldVersion, parts: Parts, caller: Operator, env: Env = "prod"
) -> VersionView:
    state = await _for_writing(parts, name, env, caller)
    async with parts.sessions() as db:
        wanted = await writing.restoring(db, state, form.key, form.version, form.expect_version)
    return await _appended(parts, caller, state, wanted)


@router.get("/states/{name}/diff", summary="What differs between two versions of a key")
async def diff_state_versions(
    name: str,
    key: Key,
    before: Annotated[int, Query(ge=1)],
    after: Annotated[int, Query(ge=1)],
    parts: Parts,
    caller: Reader,
    env: Env = "prod",
) -> VersionsDiff:
    async with parts.sessions() as db:
        state = await _state(db, name, env, caller, Permission.READ)
        return await query.versions_diff(db, state, key, before, after)


@router.get("/states/{name}/changes", summary="What differs between two instants, key by key")
async def list_state_changes(
    name: str,
    since: datetime,
    parts: Parts,
    caller: Reader,
    env: Env = "prod",
    until: Annotated[datetime | None, Query(description="unset: now")] = None,
    prefix: Prefix = "",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[KeyChange]:
    begin, end = _aware(since), _aware(until) or datetime.now(UTC)
    assert begin is not None
    async with parts.sessions() as db:
        state = await _state(db, name, env, caller, Permission.READ)
        await query.must_exist(db, state)
        return await query.changes_between(db, state, begin, end, prefix=prefix, limit=limit, cursor=cursor)


@router.post("/states/{name}/rebuild", status_code=202, summary="Drop what was folded and fold the log anew")
async def rebuild_state(
    name: str, response: Response, parts: Parts, caller: Configurer, env: Env = "prod", wait: Wait = 0
) -> Rebuilding:
    """With `wait`, 200 once it is done. Meanwhile readers here see the State as far as it is folded."""
    async with parts.sessions.begin() as db:
        state = await _state(db, name, env, caller, Permission.CONFIGURE)
        await query.must_exist(db, state)
        upto = await parts.log_store.bounds(state.topic)
        await writing.rebuild(db, state)

    async def look() -> bool:
        async with parts.sessions() as db:
            return await writing.is_folded(db, state, upto)

    done = await wait_for(look, done=bool, seconds=wait)
    response.status_code = 200 if done else 202
    return Rebuilding(done=done)


async def _state(db: Any, name: str, env: str, caller: Caller, permission: Permission) -> StateRef:
    return await query.state_ref(db, name, env, caller=caller, permission=permission)


async def _for_writing(parts: Resources, name: str, env: str, caller: Caller) -> StateRef:
    async with parts.sessions() as db:
        return await _state(db, name, env, caller, Permission.OPERATE)


async def _appended(parts: Resources, caller: Caller, state: StateRef, wanted: writing.Wanted) -> VersionView:
    version = await writing.append(parts, caller, state, wanted)
    async with parts.sessions() as db:
        return await query.find_version(db, state, wanted.key, version=version)


def _aware(moment: datetime | None) -> datetime | None:
    """Raises `Invalid` for an instant without a time zone."""
    if moment is not None and moment.tzinfo is None:
        raise Invalid(f"{moment.isoformat()} has no time zone: end it with Z, or +01:00")
    return moment
