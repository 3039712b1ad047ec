"""The six routes that every kind of configured thing has."""

from collections.abc import Callable, Sequence
from datetime import datetime
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from kirby_common.ledger.tables import Revision
from pydantic import BaseModel
from sqlalchemy import select

from kirby_api.access.gate import Configurer, Parts, Reader
from kirby_api.access.permissions import Permission
from kirby_api.changes import change
from kirby_api.kinds.kind import Kind, View, pruned
from kirby_api.paging import Cursor, Limit, Page
from kirby_api.problems import ChangedMeanwhile
from kirby_api.routes.documents import PROBLEMS
from kirby_api.routes.idempotent import IdempotentRoute

TOO_LATE = "X-Kirby-Too-Late"
IfMatch = Annotated[str | None, Header(description="the ETag that was read; 412 when it has changed since")]


class RevisionView(BaseModel):
    rev: int
    action: str
    value: dict[str, Any] | None
    author: str
    at: datetime


def crud_router(kind: Kind[Any]) -> APIRouter:
    """List, create, get, revisions, update and delete; names with `/` are accepted in the path."""
    router = APIRouter(tags=[kind.plural], responses=PROBLEMS, route_class=IdempotentRoute)
    base, one = f"/{kind.plural}", f"/{kind.plural}/{{ref:path}}"
    noun, nouns = kind.name.replace("-", "_"), kind.plural.replace("-", "_")
    page = Page[kind.view]  # type: ignore[name-defined]
    router.get(base, name=f"list_{nouns}", response_model=page, summary=f"The {nouns.replace('_', ' ')}")(_lister(kind))
    router.post(base, name=f"create_{noun}", response_model=kind.view, status_code=201, summary=f"Add a {kind.title}")(
        _creator(kind)
    )
    router.get(
        f"{one}/revisions", name=f"list_{noun}_revisions", response_model=Page[RevisionView], summary="Who changed it"
    )(_historian(kind))
    router.get(one, name=f"get_{noun}", response_model=kind.view, summary=f"One {kind.title}")(_getter(kind))
    router.patch(one, name=f"update_{noun}", response_model=kind.view, summary=f"Change a {kind.title}")(_updater(kind))
    router.delete(one, name=f"delete_{noun}", status_code=204, summary=f"Remove a {kind.title}")(_deleter(kind))
    return router


def etag(view: View) -> str:
    return f'"{view.rev}"'


def check_match(if_match: str | None, rev: int) -> None:
    """Raises `ChangedMeanwhile` when the caller has read another revision."""
    if if_match is None or if_match.strip() == "*":
        return
    if f'"{rev}"' not in [tag.strip().removeprefix("W/") for tag in if_match.split(",")]:
        raise ChangedMeanwhile(f"it was changed meanwhile: it is at revision {rev} now; read it again", rev=rev)


def _lister(kind: Kind[Any]) -> Callable[..., Any]:
    async def list_(
        parts: Parts, caller: Reader, limit: Limit = 100, cursor: Cursor = None, **filters: str | None
    ) -> Page[View]:
        asked = {name: value for name, value in filters.items() if value is not None}
        async with parts.sessions() as db:
            items, following = await kind.page(db, caller, limit=limit, cursor=cursor, filters=asked)
            return Page(items=await pruned(db, items, caller), next=following)

    list_.__signature__ = _with_filters(signature(list_), kind.all_filters)  # type: ignore[attr-defined]
    return list_


def _with_filters(plain: Signature, filters: Sequence[str]) -> Signature:
    """The signature with one optional query parameter per filter, so that the OpenAPI document names them."""
    named = [p for p in plain.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    extra = [Parameter(f, Parameter.KEYWORD_ONLY, default=None, annotation=str | None) for f in filters]
    return plain.replace(parameters=[*named, *extra])


def _creator(kind: Kind[Any]) -> Callable[..., Any]:
    async def create(form: BaseModel, response: Response, parts: Parts, caller: Configurer) -> View:
        async with change(parts, caller, rules_too=kind.rules_too) as made:
            caller.require(Permission.CONFIGURE, await kind.place_of_new(made.session, form))
            row = await kind.make(made, form)
            view = await kind.one(made.session, row)
            value = view.model_dump(mode="json")
            await made.record(kind.name, view.id, rev=view.rev, action="create", value=value, told=kind.told(value))
        response.headers["ETag"] = etag(view)
        return view

    create.__annotations__["form"] = kind.new
    return create


def _historian(kind: Kind[Any]) -> Callable[..., Any]:
    async def revisions(ref: str, parts: Parts, caller: Reader) -> Page[RevisionView]:
        async with parts.sessions() as db:
            row = await kind.find(db, ref)
            caller.require(Permission.READ, await kind.place(db, row))
            query = select(Revision).where(Revision.kind == kind.name, Revision.entity_id == str(row.id))
            found = (await db.scalars(query.order_by(Revision.id.desc()).limit(200))).all()
        return Page(items=[RevisionView.model_validate(r, from_attributes=True) for r in found])

    return revisions


def _getter(kind: Kind[Any]) -> Callable[..., Any]:
    async def get(ref: str, response: Response, parts: Parts, caller: Reader) -> View:
        async with parts.sessions() as db:
            row = await kind.find(db, ref)
            caller.require(Permission.READ, await kind.place(db, row))
            (view,) = await pruned(db, [await kind.one(db, row)], caller)
        response.headers["ETag"] = etag(view)
        return view

    return get


def _updater(kind: Kind[Any]) -> Callable[..., Any]:
    async def update(
        ref: str, form: BaseModel, response: Response, parts: Parts, caller: Configurer, if_match: IfMatch = None
    ) -> View:
        async with change(parts, caller, rules_too=kind.rules_too) as made:
            db = made.session
            row = await kind.find(db, ref)
            caller.require(Permission.CONFIGURE, await kind.place(db, row))
            check_match(if_match, row.rev)
            row.rev = row.rev + 1
            await kind.alter(made, row, form)
            caller.require(Permission.CONFIGURE, await kind.place(db, row))
            view = await kind.one(db, row)
            value = view.model_dump(mode="json")
            await made.record(kind.name, view.id, rev=view.rev, action="update", value=value, told=kind.told(value))
        response.headers["ETag"] = etag(view)
        if made.too_late:
            response.headers[TOO_LATE] = ", ".join(made.too_late)
        return view

    update.__annotations__["form"] = kind.patch
    return update


def _deleter(kind: Kind[Any]) -> Callable[..., Any]:
    async def delete(ref: str, parts: Parts, caller: Configurer, if_match: IfMatch = None) -> None:
        async with change(parts, caller, rules_too=kind.rules_too) as made:
            db = made.session
            row = await kind.find(db, ref)
            caller.require(Permission.CONFIGURE, await kind.place(db, row))
            check_match(if_match, row.rev)
            gone, rev = row.id, row.rev
            await kind.remove(made, row)
            await made.record(kind.name, gone, rev=rev, action="delete", value=None)

    return delete
