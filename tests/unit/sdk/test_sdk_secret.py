"""kirby.secret: over the worker's socket, or the environment in tests."""

import doctest
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import kirby
import kirby._secret
import pytest

Answer = Callable[[dict[str, Any]], dict[str, Any] | None]


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], None]]:
    """The worker's end of the socket, answering each request by the function given."""
    ours, theirs = socket.socketpair()
    number = os.dup(theirs.fileno())
    theirs.close()
    monkeypatch.setenv("KIRBY_SECRET_FD", str(number))
    threads = []

    def serve(answer: Answer) -> None:
        def loop() -> None:
            with ours, ours.makefile("rw") as lines:
                for line in lines:
                    reply = answer(json.loads(line))
                    if reply is None:
                        return
                    lines.write(json.dumps(reply) + "\n")
                    lines.flush()

        threads.append(threading.Thread(target=loop))
        threads[0].start()

    yield serve
    kirby._secret._channels.pop(number).close()
    threads[0].join(5)


def test_a_field_and_all_fields(worker: Callable[[Answer], None]) -> None:
    data = {"user": "kirby", "password": "é" * 100_000}
    worker(lambda q: {"id": q["id"], "value": data[q["field"]] if q["field"] else data})
    assert kirby.secret("db/main", "password") == "é" * 100_000
    assert kirby.secret("db/main") == data


@pytest.mark.parametrize("code", ["denied", "absent", "unavailable"])
def test_a_refusal_carries_the_sentence_and_the_code(worker: Callable[[Answer], None], code: str) -> None:
    worker(lambda q: {"id": q["id"], "error": "weather@prod has no grant for db/main", "code": code})
    with pytest.raises(kirby.SecretUnavailable, match="has no grant") as caught:
        kirby.secret("db/main", "password")
    assert (caught.value.code, caught.value.path) == (code, "db/main")


def test_a_worker_that_went_away(worker: Callable[[Answer], None]) -> None:
    worker(lambda q: None)
    with pytest.raises(kirby.SecretUnavailable, match="did not answer") as caught:
        kirby.secret("db/main", "password")
    assert caught.value.code == "unavailable"


def test_anothers_answer_is_never_taken_for_ours(worker: Callable[[Answer], None]) -> None:
    worker(lambda q: {"id": -1, "value": "somebody else's"})
    with pytest.raises(kirby.SecretUnavailable, match="Another request's answer"):
        kirby.secret("db/main", "password")


def test_outside_kirby_it_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIRBY_SECRET_FD", raising=False)
    monkeypatch.setenv("KIRBY_SECRET_MAIL_SMTP_TOKEN", "t1")
    assert kirby.secret("mail/smtp", "token") == "t1"
    with pytest.raises(kirby.SecretUnavailable, match="set KIRBY_SECRET_MAIL_SMTP_USER or KIRBY_SECRET_MAIL_SMTP"):
        kirby.secret("mail/smtp", "user")
    monkeypatch.setenv("KIRBY_SECRET_PLAIN", "not json")
    with pytest.raises(kirby.SecretUnavailable, match="is not a JSON object"):
        kirby.secret("plain")


def test_the_examples_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIRBY_SECRET_FD", raising=False)
    monkeypatch.setenv("KIRBY_SECRET_DB_MAIN", "")
    assert doctest.testmod(kirby._secret).failed == 0
