"""Webhooks over HTTP: signed, to an address that was checked, without following redirects."""

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import httpx2

from kirby_notifier.domain.attempts import Outcome, judge_answer
from kirby_notifier.domain.signing import headers, secret_for
from kirby_notifier.domain.targets import Target, TargetRefused, choose_address, parse_target
from kirby_notifier.ports import Due

_KEPT_CHARACTERS = 1000


class WebhookCourier:
    """A POST per attempt, each on a connection of its own to the address that was checked."""

    def __init__(self, *, key: str, timeout_s: float, allow_private: bool) -> None:
        self._key = key
        self._timeout_s = timeout_s
        self._allow_private = allow_private
        self._client = httpx2.AsyncClient(
            verify=ssl.create_default_context(),
            follow_redirects=False,
            trust_env=False,  # A proxy would connect to addresses that were not checked.
            timeout=timeout_s,
            limits=httpx2.Limits(max_keepalive_connections=0),  # A kept TLS connection is of another host by name.
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def deliver(self, due: Due) -> Outcome:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(due)
        except TargetRefused as error:
            return Outcome(delivered=False, final=True, error=f"refused: {error}")
        except (TimeoutError, httpx2.TimeoutException):
            return Outcome(delivered=False, error=f"no answer within {self._timeout_s:g} s")
        except (httpx2.HTTPError, OSError) as error:
            return Outcome(delivered=False, error=f"not reached: {error or type(error).__name__}")
        except (httpx2.InvalidURL, UnicodeError) as error:
            return Outcome(delivered=False, final=True, error=f"refused: the webhook is not a URL: {error}")

    async def _post(self, due: Due) -> Outcome:
        target = parse_target(due.target)
        addresses = await _resolve(target)
        address = choose_address(target.host, addresses=addresses, allow_private=self._allow_private)
        named = httpx2.URL(due.target)
        signed = headers(
            secret_for(due.target, key=self._key), message_id=due.message_id, timestamp=int(time.time()), body=due.body
        )
        request = self._client.build_request(
            "POST",
            named.copy_with(host=address),
            content=due.body.encode(),
            headers=signed | {"host": named.netloc.decode("ascii")},
            extensions={"sni_hostname": target.host},
        )
        answer = await self._client.send(request, stream=True)
        try:
            return judge_answer(answer.status_code, response=await _beginning(answer))
        finally:
            await answer.aclose()


async def _resolve(target: Target) -> Sequence[str]:
    """The host's addresses, IPv4 first. Raises OSError when the name is not known now."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(info[4][0]) for info in found)
    return sorted(addresses, key=lambda address: ":" in address)


async def _beginning(answer: httpx2.Response) -> str:
    """So much of the answer as is worth keeping; a longer one is not read."""
    kept = b""
    async for piece in answer.aiter_raw():
        kept += piece
        if len(kept) >= _KEPT_CHARACTERS:
            break
    return kept[:_KEPT_CHARACTERS].decode(errors="replace").replace("\0", "\ufffd")
