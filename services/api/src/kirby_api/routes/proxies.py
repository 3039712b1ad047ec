"""The vault and the notifier, through the api: browsers and the command talk to the api only.

The other service gets a short assertion of who asks, signed with SECRET_KEY, and decides by itself.
"""

from typing import Annotated, Any

import httpx2
import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from kirby_common import assertions
from kirby_common.ledger.tables import Job
from sqlalchemy import select

from kirby_api.access.gate import Administrator, Parts, Reader
from kirby_api.access.permissions import Caller, Permission, Place
from kirby_api.problems import Unavailable
from kirby_api.resources import Resources
from kirby_api.routes.documents import PROBLEMS

router = APIRouter(responses=PROBLEMS)
_TTL_S = 30
_PASSED = {"content-type", "etag", "cache-control", "retry-after"}


async def passed_on(parts: Resources, caller: Caller, request: Request, *, to: str, service: str) -> Response:
    """The service's answer to the same request. Raises `Unavailable` when it does not answer."""
    key = parts.settings.secret_key.get_secret_value()
    claims = {"sub": caller.name, "role": caller.role}
    token = assertions.issue(claims, key=key, audience=assertions.USER, ttl_s=_TTL_S)
    headers = {"Authorization": f"Bearer {token}"}
    if "content-type" in request.headers:
        headers["Content-Type"] = request.headers["content-type"]
    try:
        answer = await parts.http.request(
            request.method, to, params=request.url.query or None, content=await request.body(), headers=headers
        )
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Unavailable(f"the {service} does not answer now: {reason}; try again", service=service) from error
    kept = {name: value for name, value in answer.headers.items() if name.lower() in _PASSED}
    return Response(answer.content, status_code=answer.status_code, headers=kept)


@router.get("/secrets", tags=["secrets"], summary="Paths and versions; never values")
async def list_secrets(request: Request, parts: Parts, caller: Administrator) -> Response:
    return await _vault(parts, caller, request, "secrets")


@router.get("/secrets/{path:path}", tags=["secrets"], summary="A secret's fields; the look is written down")
async def get_secret(path: str, request: Request, parts: Parts, caller: Administrator) -> Response:
    return await _vault(parts, caller, request, f"secrets/{path}")


@router.put("/secrets/{path:path}", tags=["secrets"], summary='Store a secret: {"data": {field: value}}')
async def put_secret(path: str, request: Request, parts: Parts, caller: Administrator) -> Response:
    return await _vault(parts, caller, request, f"secrets/{path}")


@router.delete("/secrets/{path:path}", tags=["secrets"], summary="Remove a secret")
async def delete_secret(path: str, request: Request, parts: Parts, caller: Administrator) -> Response:
    return await _vault(parts, caller, request, f"secrets/{path}")


@router.get("/secret-grants", tags=["secrets"], summary="Which context may read which secrets")
async def list_secret_grants(request: Request, parts: Parts, caller: Administrator) -> Response:
    return await _vault(parts, caller, request, "grants")


@router.put("/secret-grants", tags=["secrets"], summary="Let a context read a secret: {context_id, path}")
async def put_secret_grant(request: Request, parts: Parts, caller: Administrator) -> Response:
    return await _vault(parts, caller, request, "grants")


@router.delete("/secret-grants", tags=["secrets"], summary="Take back a grant")
async def delete_secret_grant(request: Request, parts: Parts, caller: Administrator) -> Response:
    return await _vault(parts, caller, request, "grants")


@router.get("/secret-audit", tags=["secrets"], summary="Who read or changed which secret")
async def list_secret_audit(request: Request, parts: Parts, caller: Administrator) -> Response:
    return await _vault(parts, caller, request, "audit")


@router.get("/deliveries", tags=["notifications"], summary="What was sent to whom, and how it went")
async def list_deliveries(request: Request, parts: Parts, caller: Reader) -> Response:
    """Of those in environments and namespaces that the caller may not read, nothing is shown."""
    return await _readable(parts, caller, await _notifier(parts, caller, request, "deliveries"))


@router.get("/webhook-secret", tags=["notifications"], summary="The secret that signs what a webhook gets")
async def get_webhook_secret(
    request: Request, parts: Parts, caller: Administrator, url: Annotated[str, Query()]
) -> Response:
    return await _notifier(parts, caller, request, "webhooks/secret")


async def _readable(parts: Resources, caller: Caller, answer: Response) -> Response:
    """The deliveries without those that the caller may not read; the notifier knows no namespaces."""
    if answer.status_code != 200:
        return answer
    page = orjson.loads(bytes(answer.body))
    async with parts.sessions() as db:
        names = {item["job"] for item in page["items"] if item.get("job")}
        namespaces = dict((await db.execute(select(Job.name, Job.namespace).where(Job.name.in_(names)))).tuples().all())

    def seen(item: dict[str, Any]) -> bool:
        place = Place(env=item.get("env"), namespace=namespaces.get(item.get("job") or ""))
        return caller.may(Permission.READ, place)

    return JSONResponse({**page, "items": [item for item in page["items"] if seen(item)]})


async def _vault(parts: Resources, caller: Caller, request: Request, path: str) -> Response:
    base = parts.settings.kirby_vault_url.rstrip("/")
    return await passed_on(parts, caller, request, to=f"{base}/v1/{path}", service="vault")


async def _notifier(parts: Resources, caller: Caller, request: Request, path: str) -> Response:
    base = parts.settings.kirby_notifier_url.rstrip("/")
    return await passed_on(parts, caller, request, to=f"{base}/v1/{path}", service="notifier")
