"""kirby.WebClient: what is tried again, and what is told in the end."""

import pytest
from kirby import CallFailed, WebClient
from kirby._retry import Retries, from_environment
from kirby.errors import BadVariable
from kirby.webclient import Answer, NoAnswer, Request, answering

AT_ONCE = Retries(tries=3, wait=0)


class Service:
    """Answers, or fails, in turn."""

    def __init__(self, *answers: Answer | NoAnswer) -> None:
        self._answers = list(answers)
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, NoAnswer):
            raise answer
        return answer


def client() -> WebClient:
    return WebClient("met", "https://met.test/v1/", headers={"x-key": "k"}, retries=AT_ONCE)


def test_a_call_is_put_together() -> None:
    service = Service(Answer(201, b'{"id": 7}'), Answer(204, b""), Answer(200, b"plain"))
    with answering(service), client() as met:
        assert met.post("/stations", {"name": "KSEA"}, params={"dry": 1}) == {"id": 7}
        assert met.delete("stations/7", timeout=2) is None
        assert met.get() == "plain"
    post, delete, get = service.requests
    assert (post.method, post.url, post.params, post.content) == (
        "POST", "https://met.test/v1/stations", {"dry": 1}, b'{"name":"KSEA"}',
    )  # fmt: skip
    assert post.headers == {"x-key": "k", "content-type": "application/json"}
    assert (delete.url, delete.timeout, get.url) == ("https://met.test/v1/stations/7", 2, "https://met.test/v1/")


def test_what_may_pass_is_tried_again() -> None:
    service = Service(NoAnswer("refused", arrived=False), Answer(503, b""), Answer(200, b"1"))
    with answering(service):
        assert client().get("x") == 1
    assert len(service.requests) == 3


@pytest.mark.parametrize(
    ("method", "first", "calls"),
    [
        ("GET", Answer(404, b"no such station"), 1),
        ("POST", Answer(500, b"half done"), 1),
        ("POST", NoAnswer("timed out", arrived=True), 1),
        ("POST", NoAnswer("refused", arrived=False), 3),
        ("PUT", Answer(500, b""), 3),
        ("PATCH", Answer(429, b""), 3),
    ],
)
def test_a_failure_is_one_sentence(method: str, first: Answer | NoAnswer, calls: int) -> None:
    service = Service(first, first, first)
    with answering(service), pytest.raises(CallFailed, match=rf"met .*{method} https://met.test/v1/x") as caught:
        client().request(method, "x")
    assert len(service.requests) == calls
    assert caught.value.status == (first.status if isinstance(first, Answer) else None)


def test_the_service_may_say_how_long_to_wait() -> None:
    retries = Retries(tries=2, wait=0.4)
    assert retries.next_wait("GET", attempt=1, status=503, told="7") == 7
    assert retries.next_wait("GET", attempt=1, status=503, told="9999") == 60
    assert retries.next_wait("GET", attempt=1, status=503, told="Wed, 21 Oct") == 0.4
    assert retries.next_wait("GET", attempt=2, status=503, told="7") is None


def test_the_environment_says_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EXT_RETRIES", "EXT_WAIT_BETWEEN_RETRIES"):
        monkeypatch.delenv(name, raising=False)
    assert from_environment() == Retries(3, 0.4)
    monkeypatch.setenv("KIRBY_NB_RETRIES_EXT_CO", "5")
    monkeypatch.setenv("KIRBY_WAIT_BETWEEN_RETRIES_EXT_CO", "1")
    assert from_environment() == Retries(5, 1.0)
    monkeypatch.setenv("EXT_RETRIES", "2")
    monkeypatch.setenv("EXT_WAIT_BETWEEN_RETRIES", "0")
    assert from_environment() == Retries(2, 0.0)
    monkeypatch.setenv("EXT_RETRIES", "many")
    with pytest.raises(BadVariable, match="EXT_RETRIES"):
        from_environment()


def test_a_service_that_is_not_there_is_one_sentence() -> None:
    nobody = WebClient("nobody", "http://127.0.0.1:1", retries=AT_ONCE)
    with nobody, pytest.raises(CallFailed, match=r"nobody did not answer GET http://127.0.0.1:1"):
        nobody.get()
