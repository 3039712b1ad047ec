"""Webhooks to a real HTTP server."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from kirby_notifier.adapters.webhooks import WebhookCourier
from kirby_notifier.domain.attempts import Outcome
from kirby_notifier.domain.signing import secret_for
from kirby_notifier.ports import Due
from starlette.responses import Response

from tests.webhook_receiver import Got, Receiver, receiving

KEY = "0123456789abcdef"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def deliver(url: str, *, allow_private: bool = True, timeout_s: float = 5, body: str = '{"a":"é"}') -> Outcome:
    async with WebhookCourier(key=KEY, timeout_s=timeout_s, allow_private=allow_private) as courier:
        return await courier.deliver(Due(uuid4(), "webhook", url, body, attempt=1))


async def test_a_signed_post_arrives_as_it_was_signed(receiver: Receiver) -> None:
    url = receiver.url.replace("127.0.0.1", "localhost") + "?token=a%20b"
    assert await deliver(url) == Outcome(delivered=True, status=204, response="")
    (got,) = receiver.got
    assert got.body == '{"a":"é"}'
    assert got.headers["host"].startswith("localhost:")
    assert got.headers["content-type"] == "application/json"
    assert got.is_signed_with(secret_for(url, key=KEY))
    assert not got.is_signed_with(secret_for(receiver.url, key=KEY))


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    async def redirect(_: Got) -> Response:
        return Response(status_code=307, headers={"location": receiver.url + "/other"})

    receiver.answer = redirect
    outcome = await deliver(receiver.url)
    assert (outcome.delivered, outcome.final, outcome.status) == (False, True, 307)
    assert "redirects are not followed" in (outcome.error or "")
    assert len(receiver.got) == 1


async def test_an_error_of_the_receiver_is_kept_in_part(receiver: Receiver) -> None:
    async def fail(_: Got) -> Response:
        return Response("oops" * 100_000, status_code=500)

    receiver.answer = fail
    outcome = await deliver(receiver.url)
    assert (outcome.delivered, outcome.final, outcome.error) == (False, False, "answered 500")
    assert len(outcome.response or "") == 1000


async def test_a_private_address_is_refused_before_anything_is_sent(receiver: Receiver) -> None:
    for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost"), receiver.url.replace("127.", "0177.")):
        outcome = await deliver(url, allow_private=False)
        assert (outcome.delivered, outcome.final) == (False, True), url
        assert "private address" in (outcome.error or "")
    assert receiver.got == []


async def test_a_receiver_that_never_answers_is_left(receiver: Receiver) -> None:
    gone = asyncio.Event()

    async def hang(_: Got) -> Response:
        await gone.wait()
        return Response()

    receiver.answer = hang
    outcome = await deliver(receiver.url, timeout_s=0.2)
    gone.set()
    assert outcome == Outcome(delivered=False, error="no answer within 0.2 s")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://no-such-host.invalid/"])  # Nobody listens there.
async def test_a_receiver_that_is_away_is_tried_again(url: str) -> None:
    outcome = await deliver(url)
    assert (outcome.delivered, outcome.final) == (False, False)
    assert (outcome.error or "").startswith("not reached: ")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "gopher:x", "", "http://", "http://\x00/", "http://a:b:c/"])
async def test_what_is_no_webhook_is_refused(url: str) -> None:
    outcome = await deliver(url)
    assert (outcome.delivered, outcome.final) == (False, True)
    assert (outcome.error or "").startswith("refused: ")
