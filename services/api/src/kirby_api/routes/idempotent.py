"""`Idempotency-Key` on POSTs: the first answer is kept for a day, and a repeat gets it again.

Runs are made with the key itself as part of their identity, and uploads are repeatable by nature: both do without.
"""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from hashlib import sha256
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from kirby_common.ledger.tables import IdempotencyKey
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from kirby_api.access.gate import identify
from kirby_api.problems import Conflict, Invalid
from kirby_api.resources import Resources

HEADER = "Idempotency-Key"
REPEATED = "Idempotency-Replayed"
_KEPT = timedelta(days=1)
_GIVEN_UP = timedelta(minutes=2)
_MAX_KEY = 200

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class IdempotentRoute(APIRoute):
    """A route class: give it to the routers whose POSTs make something."""

    def get_route_handler(self) -> Handler:
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            key = request.headers.get(HEADER)
            if request.method != "POST" or not key:
                return await inner(request)
            if len(key) > _MAX_KEY:
                raise Invalid(f"{HEADER}: at most {_MAX_KEY} characters")
            parts: Resources = request.app.state.resources
            caller = await identify(request, parts)
            return await _once(parts, request, inner, principal=caller.name, key=key)

        return handle


async def _once(parts: Resources, request: Request, inner: Handler, *, principal: str, key: str) -> Response:
    digest = sha256(f"{request.url.path}?{request.url.query}\n".encode() + await request.body()).hexdigest()
    known = await _begin(parts, principal, key, digest)
    if known is not None:
        return known
    try:
        answer = await inner(request)
    except BaseException:
        # A request that failed may be sent again with the same key.
        await _forget(parts, principal, key)
        raise
    await _keep(parts, principal, key, answer)
    return answer


async def _begin(parts: Resources, principal: str, key: str, digest: str) -> Response | None:
    """None when this request is the first with its key; else the first one's answer. Raises `Conflict`, `Invalid`."""
    now = func.clock_timestamp()
    async with parts.sessions.begin() as db:
        old = (IdempotencyKey.created_at < now - _KEPT) | (
            IdempotencyKey.status.is_(None) & (IdempotencyKey.created_at < now - _GIVEN_UP)
        )
        await db.execute(delete(IdempotencyKey).where(IdempotencyKey.principal == principal, old))
        fresh = insert(IdempotencyKey).values(principal=principal, key=key, request_hash=digest)
        made = await db.execute(fresh.on_conflict_do_nothing().returning(IdempotencyKey.key))
        if made.one_or_none() is not None:
            return None
        mine = select(IdempotencyKey).where(IdempotencyKey.principal == principal, IdempotencyKey.key == key)
        row = (await db.scalars(mine)).one()
    if row.request_hash != digest:
        raise Invalid(f"{HEADER} '{key}' was used for another request; choose a new one")
    if row.status is None:
        raise Conflict(f"the first request with {HEADER} '{key}' is still being answered; try again")
    return JSONResponse(row.body, status_code=row.status, headers={REPEATED: "true"})


async def _keep(parts: Resources, principal: str, key: str, answer: Response) -> None:
    try:
        body = orjson.loads(bytes(answer.body)) if answer.body else None
    except orjson.JSONDecodeError:
        body = None
    async with parts.sessions.begin() as db:
        await db.execute(
            update(IdempotencyKey)
            .where(IdempotencyKey.principal == principal, IdempotencyKey.key == key)
            .values(status=answer.status_code, body=body)
        )


async def _forget(parts: Resources, principal: str, key: str) -> None:
    async with parts.sessions.begin() as db:
        await db.execute(delete(IdempotencyKey).where(IdempotencyKey.principal == principal, IdempotencyKey.key == key))
