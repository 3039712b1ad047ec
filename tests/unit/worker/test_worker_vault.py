"""A vault that hangs, fails or says no: how long a worker waits for it, and what it says then."""

import asyncio

import httpx2
import pytest
from kirby_worker.adapters.vault import HttpVault, NoSecret


class Hanging(httpx2.AsyncBaseTransport):
    """Takes every request and never answers; `asked` counts them, `given_up` those that were broken off."""

    def __init__(self) -> None:
        self.asked = 0
        self.given_up = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        raise AssertionError


async def test_a_vault_that_hangs_is_given_up_with_the_reason() -> None:
    transport = Hanging()
    async with httpx2.AsyncClient(transport=transport) as client:
        vault = HttpVault(client, url="http://vault", patience_s=0.02)
        with pytest.raises(NoSecret, match=r"does not answer \(no answer within 0.02 s, 2 times\)") as refused:
            await vault.read("db/main", None, run_token="t")
    assert refused.value.code == "unavailable"
    assert transport.asked == transport.given_up == 2


async def test_a_vault_that_answers_at_the_second_try_is_enough() -> None:
    answers = iter([httpx2.Response(503), httpx2.Response(200, json={"data": {"user": "ada"}})])
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: next(answers))) as client:
        assert await HttpVault(client, url="http://vault").read("db/main", "user", run_token="t") == "ada"
