"""The whole script database in and out, as one document."""

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel

from kirby_api.access.gate import Configurer, Parts, Reader
from kirby_api.access.permissions import Permission
from kirby_api.changes import change
from kirby_api.routes.documents import PROBLEMS
from kirby_api.routes.idempotent import IdempotentRoute
from kirby_api.usecases.document import Document, parse
from kirby_api.usecases.exporting import export_document
from kirby_api.usecases.importing import import_document

router = APIRouter(tags=["import and export"], responses=PROBLEMS, route_class=IdempotentRoute)


class Imported(BaseModel):
    created: dict[str, int]


_SCHEMA = {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Document"}}}}}


@router.post("/import", name="import_document", status_code=201, openapi_extra=_SCHEMA, summary="Import a document")
async def import_(parts: Parts, caller: Configurer, document: Annotated[Any, Body()]) -> Imported:
    """All or nothing; a fault is told with its path, as in `jobs[2].contexts[0].script`."""
    # A document may touch anything, so that who may configure a part only has to go without.
    caller.require(Permission.CONFIGURE)
    parsed = parse(document)
    async with change(parts, caller, rules_too=True) as made:
        return Imported(created=await import_document(made, parsed))


@router.get("/export", name="export_document", summary="The script database as a document")
async def export(parts: Parts, caller: Reader) -> Document:
    async with parts.sessions() as db:
        return await export_document(db, caller)
