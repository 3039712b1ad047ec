"""The small HTTP client: what it sends, and how it tells what went wrong."""

import socket

import pytest
from kirby.cli.client import Client, Part, Refused
from kirby.cli.errors import CommandError, ExitCode, Unreachable
from kirby.cli.suite import Suite

from tests.unit.cli.stub_api import Answer, json_answer, stub_api


def test_a_request_carries_the_token_below_the_base_path() -> None:
    with stub_api(lambda _: json_answer({"ok": True})) as stub, Client(Suite(f"{stub.url}/sub", "t0k")) as client:
        assert client.get("/runs", job="a b", env=None) == {"ok": True}
        assert client.post("/runs", {"x": 1}) == {"ok": True}
    assert [a.path for a in stub.asked] == ["/sub/api/v1/runs?job=a+b", "/sub/api/v1/runs"]
    assert stub.asked[0].headers["Authorization"] == "Bearer t0k"
    assert stub.asked[1].body == b'{"x": 1}'
    assert stub.asked[1].headers["Idempotency-Key"]


def test_pages_are_followed_to_the_end_and_no_further_than_asked() -> None:
    pages = {"": ([1, 2], "a"), "a": ([3, 4], "b"), "b": ([5], None)}

    def answer(asked: object) -> Answer:
        cursor = str(getattr(asked, "path", "")).partition("cursor=")[2]
        items, following = pages[cursor]
        return json_answer({"items": [{"n": n} for n in items], "next": following})

    with stub_api(answer) as stub, Client(Suite(stub.url, "t")) as client:
        assert [item["n"] for item in client.pages("/x")] == [1, 2, 3, 4, 5]
        asked = len(stub.asked)
        assert [item["n"] for item in client.pages("/x", most=2)] == [1, 2]
        assert len(stub.asked) == asked + 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, ExitCode.USAGE),
        (401, ExitCode.NOT_ALLOWED),
        (403, ExitCode.NOT_ALLOWED),
        (404, ExitCode.NOT_FOUND),
        (409, ExitCode.CONFLICT),
        (412, ExitCode.CONFLICT),
        (422, ExitCode.FAILED),
        (500, ExitCode.FAILED),
    ],
)
def test_a_problem_is_its_sentence_and_an_exit_code(status: int, code: ExitCode) -> None:
    problem = {"type": "urn:kirby:problem:x", "detail": "there is no job 'x'", "status": status}
    with stub_api(lambda _: json_answer(problem, status=status)) as stub, Client(Suite(stub.url, "t")) as client:
        with pytest.raises(Refused, match="there is no job 'x'") as caught:
            client.get("/jobs/x")
        assert (caught.value.code, caught.value.status) == (code, status)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(200, b"<html>", "text/html"), "answers, but not as Kirby does"),
        (Answer(502, b"bad gateway", "text/plain"), "HTTP 502, text/plain"),
        (Answer(200, b"{", "application/json"), "answers, but not as Kirby does"),
        (Answer(200, b'{"a": 1}', "application/json", cut=True), "broke off its answer"),
    ],
)
def test_what_is_not_kirby_is_told(answer: Answer, told: str) -> None:
    with (
        stub_api(lambda _: answer) as stub,
        Client(Suite(stub.url, "t")) as client,
        pytest.raises(Unreachable, match=told),
    ):
        client.get("/runs")


def test_a_route_that_an_older_suite_lacks_is_told() -> None:
    problem = {"type": "urn:kirby:problem:http", "detail": "Not Found"}
    with (
        stub_api(lambda _: json_answer(problem, status=404)) as stub,
        Client(Suite(stub.url, "t")) as client,
        pytest.raises(CommandError, match="older than this command"),
    ):
        client.get("/news")


def test_an_idle_connection_that_the_server_closed_is_made_again() -> None:
    with stub_api(lambda _: json_answer({})) as stub, Client(Suite(stub.url, "t")) as client:
        client.get("/runs")
        assert client._connection is not None
        client._connection.sock.shutdown(socket.SHUT_RDWR)
        client.get("/runs")
        client._connection.sock.shutdown(socket.SHUT_RDWR)
        client.post("/runs")
    assert len(stub.asked) == 3
    assert len({a.headers.get("Idempotency-Key") for a in stub.asked}) == 2


def test_a_change_without_a_key_is_never_sent_twice() -> None:
    with stub_api(lambda _: json_answer({})) as stub, Client(Suite(stub.url, "t")) as client:
        client.get("/runs")
        assert client._connection is not None
        client._connection.sock.shutdown(socket.SHUT_RDWR)
        with pytest.raises(Unreachable):
            client.patch("/jobs/x", {})


def test_an_upload_is_a_form_with_the_file() -> None:
    content = bytes(range(256)) * 10
    with stub_api(lambda _: json_answer({}, status=201)) as stub, Client(Suite(stub.url, "t")) as client:
        client.upload("/packages", Part("content", "w-1-py3-none-any.whl", content))
        assert client.status == 201
    assert stub.asked[0].headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert b'name="content"; filename="w-1-py3-none-any.whl"' in stub.asked[0].body
    assert content in stub.asked[0].body
