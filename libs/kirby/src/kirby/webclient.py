"""Web services, by HTTP, tried again when that may help."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson

from kirby import _sending
from kirby._effects import Rerun, effect
from kirby._process import process
from kirby._retry import Retries, from_environment
from kirby._serializers import needed
from kirby.errors import CallFailed

_ASKING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Request:
    """One call, as it goes out: `content` are the body's bytes, `timeout` is in seconds."""

    method: str
    url: str
    params: Mapping[str, Any]
    headers: Mapping[str, str]
    content: bytes | None
    timeout: float


@dataclass(frozen=True)
class Answer:
    """What a service answered; `headers` have lower-case names.

    >>> Answer(200, b'{"celsius": 11.4}').json()
    {'celsius': 11.4}
    """

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body as UTF-8; what is none shows as `�`."""
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """The body, parsed. Raises `ValueError` when it is not JSON."""
        return orjson.loads(self.content)


class NoAnswer(Exception):
    """Raised by what makes the calls: the service did not answer. `arrived`: the request may have reached it."""

    def __init__(self, reason: str, *, arrived: bool) -> None:
        super().__init__(reason)
        self.arrived = arrived


READING = ("GET", "HEAD", "OPTIONS")
"""The methods that change nothing, so that a re-run may call them."""
Caller = Callable[[Request], Answer]
"""Makes one call, once. Raises NoAnswer."""


class WebClient:
    """A web service under `base_url`, named `name` in errors and in the graph of what touches what.

    `get`, `post`, `put`, `patch` and `delete` give the parsed JSON of a 2xx answer, None for one without a body, and
    its text when it is no JSON; `request` gives the `Answer` itself. All else raises `CallFailed`, after `EXT_RETRIES`
    tries (3) with `EXT_WAIT_BETWEEN_RETRIES` seconds (0.4) between them: no answer, 429 and 5xx are tried again; a POST
    or PATCH only when it can't have been carried out. `timeout` is in seconds and for each try.
    `rerun`: `"allow"` lets a re-run make all its calls; else it makes only those that read, see `request`.
    Needs `pip install 'kirby[web]'`. Threads may share it.

    >>> with answering(lambda request: Answer(200, b'{"celsius": 11.4}')), WebClient("met", "https://met.test") as met:
    ...     met.get("stations/KSEA", params={"unit": "c"})
    {'celsius': 11.4}
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        retries: Retries | None = None,
        rerun: Rerun | None = None,
    ) -> None:
        self._rerun = rerun
        self.name = name
        self.base_url = base_url
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._retries = retries or from_environment()
        self._client: Any = None

    def get(self, path: str = "", *, params: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Ask for something. `more` is what `request` takes."""
        return _parsed(self.request("GET", path, params=params, **more))

    def post(self, path: str = "", json: Any = None, **more: Any) -> Any:
        """Send something new, `json` for its body."""
        return _parsed(self.request("POST", path, json=json, **more))

    def put(self, path: str = "", json: Any = None, **more: Any) -> Any:
        """Put something in its place."""
        return _parsed(self.request("PUT", path, json=json, **more))

    def patch(self, path: str = "", json: Any = None, **more: Any) -> Any:
        """Change a part of something."""
        return _parsed(self.request("PATCH", path, json=json, **more))

    def delete(self, path: str = "", **more: Any) -> Any:
        """Delete something."""
        return _parsed(self.request("DELETE", path, **more))

    def request(
        self,
        method: str,
        path: str = "",
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
        timeout: float | None = None,
        rerun: Rerun | None = None,
    ) -> Answer:
        """One call, tried again as the class says. Raises `CallFailed` for what is not 2xx, or for no answer, and
        `HeldBack` in a re-run for other methods than GET, HEAD and OPTIONS, unless `rerun="allow"`.
        """
        sent = dict(self._headers) | dict(headers or {})
        if json is not None:
            content = orjson.dumps(json)
            sent.setdefault("content-type", "application/json")
        if _sending.tracing:
            name, value = _sending.traceparent(_sending.onward(None))
            sent.setdefault(name, value.decode())
        url = self.base_url if not path else f"{self.base_url.rstrip('/')}/{path.lstrip('/')}"
        if method.upper() not in READING:
            effect(f"{method.upper()} {url}", rerun=rerun or self._rerun)
        request = Request(method.upper(), url, dict(params or {}), sent, content, timeout or self._timeout)
        attempt = 1
        while True:
            wait, failure = self._try(request, attempt)
            if isinstance(failure, Answer):
                process().touched("web", self.name, direction="in" if request.method in _ASKING else "out")
                return failure
            if wait is None:
                raise failure
            time.sleep(wait)
            attempt += 1

    def close(self) -> None:
        """Close its connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _try(self, request: Request, attempt: int) -> tuple[float | None, Answer | CallFailed]:
        """The answer, or the failure and after how long to try again."""
        try:
            answer = (_answering or self._call)(request)
        except NoAnswer as error:
            wait = self._retries.next_wait(request.method, attempt=attempt, status=None, arrived=error.arrived)
            told = f"{self.name} did not answer {request.method} {request.url}: {error}"
            return wait, CallFailed(self.name, told)
        if 200 <= answer.status < 300:
            return None, answer
        wait = self._retries.next_wait(
            request.method, attempt=attempt, status=answer.status, told=answer.headers.get("retry-after")
        )
        told = f"{self.name} answered {answer.status} to {request.method} {request.url}: {answer.text[:200]}"
        return wait, CallFailed(self.name, told, status=answer.status, text=answer.text)

    def _call(self, request: Request) -> Answer:
        httpx2 = needed("httpx2", extra="web", what="kirby.WebClient")
        if self._client is None:
            self._client = httpx2.Client(follow_redirects=True)
        try:
            got = self._client.request(
                request.method,
                request.url,
                params=request.params or None,
                headers=request.headers,
                content=request.content,
                timeout=request.timeout,
            )
        except httpx2.ConnectError as error:
            raise NoAnswer(str(error) or "no connection", arrived=False) from error
        except httpx2.HTTPError as error:
            raise NoAnswer(str(error) or type(error).__name__, arrived=True) from error
        return Answer(got.status_code, got.content, {name.lower(): value for name, value in got.headers.items()})


_answering: Caller | None = None


@contextmanager
def answering(caller: Caller) -> Iterator[None]:
    """Have `caller` answer all calls of all clients while the block lasts: for tests and recordings."""
    global _answering
    before, _answering = _answering, caller
    try:
        yield
    finally:
        _answering = before


def _parsed(answer: Answer) -> Any:
    if not answer.content:
        return None
    try:
        return answer.json()
    except ValueError:
        return answer.text
