"""The vault's REST: secrets, grants and the audit trail for users, one read for runs."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from kirby_common import assertions
from kirby_common.callers import Caller, bearer, identify
from kirby_common.problems import Problem
from pydantic import BaseModel, SecretStr

from kirby_vault import handlers
from kirby_vault.domain.plaintext import SecretData
from kirby_vault.handlers import Revealed, RunIdentity, Vault

router = APIRouter(prefix="/v1")


class PutSecret(BaseModel):
    data: dict[str, SecretStr]


class GrantBody(BaseModel):
    """The context is named by its id, or by its job and environment."""

    context_id: UUID | None = None
    job: str | None = None
    env: str | None = None
    path: str


class GrantQuery(BaseModel):
    context_id: UUID | None = None
    job: str | None = None
    env: str | None = None
    path: str | None = None


def _vault(request: Request) -> Vault:
    vault: Vault | None = request.app.state.vault
    if vault is None:
        raise Problem(503, "the vault is starting: its database is not ready yet; try again")
    return vault


def _caller(request: Request) -> Caller:
    return identify(request.headers.get("authorization"), key=request.app.state.secret_key)


def _run(request: Request) -> RunIdentity:
    """The run that asks, by its token. The worker holds one per grant and passes it on."""
    try:
        token = bearer(request.headers.get("authorization"))
        claims = assertions.verify(token, key=request.app.state.secret_key, audience=assertions.RUN)
        context = claims.get("context_id")
        run_id, context_id = UUID(claims["run_id"]), UUID(context) if context else None
        return RunIdentity(run_id, context_id, job=str(claims["job"]), env=str(claims["env"]))
    except (assertions.BadAssertion, KeyError, ValueError, TypeError, AttributeError) as error:
        raise Problem(401, f"the run token is not good: {error}") from None


async def _context(vault: Vault, named: GrantBody) -> UUID:
    if named.context_id is not None:
        return named.context_id
    if not named.job or not named.env:
        raise Problem(422, "name the context: context_id, or job and env")
    return await handlers.find_context(vault, job=named.job, env=named.env)


InVault = Annotated[Vault, Depends(_vault)]
Asks = Annotated[Caller, Depends(_caller)]
AsRun = Annotated[RunIdentity, Depends(_run)]
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/run-secrets/{path:path}")
async def read_for_run(run: AsRun, vault: InVault, path: str, response: Response) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    return _revealed(await handlers.get_secret_for_run(vault, run=run, path=path))


@router.get("/secrets")
async def list_secrets(caller: Asks, vault: InVault, limit: Limit = 200, cursor: str = "") -> dict[str, Any]:
    found = await handlers.list_secrets(vault, caller=caller, after=cursor, limit=limit + 1)
    items, rest = found[:limit], found[limit:]
    return {"items": items, "next": items[-1].path if rest else None}


@router.get("/secrets/{path:path}")
async def get_secret(
    caller: Asks, vault: InVault, path: str, response: Response, version: int | None = None
) -> dict[str, Any]:
    response.headers["Cache-Control"] = "no-store"
    return _revealed(await handlers.get_secret(vault, caller=caller, path=path, version=version))


@router.put("/secrets/{path:path}")
async def put_secret(caller: Asks, vault: InVault, path: str, body: PutSecret) -> dict[str, Any]:
    data = SecretData({field: value.get_secret_value() for field, value in body.data.items()})
    return {"path": path, "version": await handlers.put_secret(vault, caller=caller, path=path, data=data)}


@router.delete("/secrets/{path:path}", status_code=204)
async def delete_secret(caller: Asks, vault: InVault, path: str) -> None:
    await handlers.delete_secret(vault, caller=caller, path=path)


@router.get("/grants")
async def list_grants(
    caller: Asks, vault: InVault, context_id: UUID | None = None, job: str | None = None, env: str | None = None
) -> dict[str, Any]:
    found = await handlers.list_grants(vault, caller=caller, context_id=context_id)
    return {"items": [g for g in found if job in (None, g.job) and env in (None, g.env)], "next": None}


@router.put("/grants")
async def put_grant(caller: Asks, vault: InVault, body: GrantBody, response: Response) -> dict[str, Any]:
    context_id = await _context(vault, body)
    new = await handlers.grant(vault, caller=caller, context_id=context_id, path=body.path)
    response.status_code = 201 if new else 200
    return {"context_id": context_id, "path": body.path}


@router.delete("/grants", status_code=204)
async def delete_grant(
    caller: Asks, vault: InVault, query: Annotated[GrantQuery, Query()], body: GrantBody | None = None
) -> None:
    """Takes the grant as query parameters, or as a body for clients that send one."""
    named = body or (GrantBody(**query.model_dump()) if query.path else None)
    if named is None:
        raise Problem(422, "name the grant: the context and the path")
    await handlers.revoke(vault, caller=caller, context_id=await _context(vault, named), path=named.path)


@router.get("/audit")
async def list_audit(caller: Asks, vault: InVault, limit: Limit = 100, cursor: int | None = None) -> dict[str, Any]:
    found = await handlers.list_audit(vault, caller=caller, before=cursor, limit=limit)
    items = [{"id": row.id, "at": row.at, **vars(row.access)} for row in found]
    return {"items": items, "next": found[-1].id if len(found) == limit else None}


def _revealed(found: Revealed) -> dict[str, Any]:
    return {"path": found.path, "version": found.version, "data": found.data.reveal()}
