"""A webhook's receiver: a real HTTP server on the loopback that remembers what it got."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from kirby_common.runtime import http_server, listen
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@dataclass(frozen=True)
class Got:
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """As the specification of Standard Webhooks says, written anew and not taken from the notifier."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.{self.body}".encode()
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in self.headers["webhook-signature"].split(" ")


Answer = Callable[[Got], Awaitable[Response]]


class Receiver:
    """`answer` may be replaced by what a test needs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.got: list[Got] = []
        self.answer: Answer = self.accept

    async def accept(self, _: Got) -> Response:
        return Response(status_code=204)

    async def __call__(self, request: Request) -> Response:
        got = Got(dict(request.headers), (await request.body()).decode())
        self.got.append(got)
        return await self.answer(got)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    bound = listen("127.0.0.1", 0)
    receiver = Receiver(f"http://127.0.0.1:{bound.getsockname()[1]}/hook")
    app = Starlette(routes=[Route("/{rest:path}", receiver.__call__, methods=["POST", "GET"])])
    async with http_server(app, bound=bound):
        yield receiver
