"""A small HTTP client for the REST API, on the standard library: larger ones take longer to import than to answer."""

import http.client
import json
import socket
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

from kirby.cli.errors import CommandError, ExitCode, Unreachable, UsageError
from kirby.cli.suite import Suite

_CODES = {
    400: ExitCode.USAGE,
    401: ExitCode.NOT_ALLOWED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    410: ExitCode.NOT_FOUND,
    412: ExitCode.CONFLICT,
    502: ExitCode.UNREACHABLE,
    503: ExitCode.UNREACHABLE,
    504: ExitCode.UNREACHABLE,
}
_TIMEOUT_S = 30.0


class Refused(CommandError):
    """The api's answer was an error; `status` is HTTP's, `problem` the whole problem+json."""

    def __init__(self, sentence: str, *, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(sentence, _CODES.get(status, ExitCode.FAILED))
        self.status = status
        self.problem = problem


@dataclass(frozen=True)
class Part:
    """One file of a multipart form."""

    name: str
    filename: str
    content: bytes


def ref(name: str) -> str:
    """A name or id as one segment of a path."""
    return quote(name, safe="")


class Client:
    """One connection to the api, made when first needed and again after it was lost."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        parts = urlsplit(suite.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{suite.url!r} is not the address of a Kirby: it begins with http:// or https://")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/")
        self._connection: http.client.HTTPConnection | None = None
        self.status: int = 0
        """HTTP's status of the last answer, where 200 and 201 mean different things."""
        self.headers: Mapping[str, str] = {}
        """The last answer's headers."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, query=query)

    def pages(self, path: str, *, most: int | None = None, **query: Any) -> Iterator[dict[str, Any]]:
        """The items of a list, page by page, `most` at most."""
        left, cursor = most, None
        while left is None or left > 0:
            size = 200 if left is None else min(200, left)
            page = self.get(path, **query, limit=size, cursor=cursor)
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            cursor = page.get("next")
            if not cursor:
                return

    def post(
        self, path: str, body: Any = None, *, timeout: float = _TIMEOUT_S, key: str | None = None, **q: Any
    ) -> Any:
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        return self.call("POST", path, body=body or {}, query=q, headers=headers, timeout=timeout)

    def put(self, path: str, body: Any) -> Any:
        return self.call("PUT", path, body=body)

    def patch(self, path: str, body: Any) -> Any:
        return self.call("PATCH", path, body=body)

    def delete(self, path: str, body: Any = None) -> Any:
        return self.call("DELETE", path, body=body)

    def upload(self, path: str, part: Part) -> Any:
        """POST one file as a multipart form."""
        border = uuid.uuid4().hex
        head = (
            f'--{border}\r\nContent-Disposition: form-data; name="{part.name}"; filename="{part.filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        data = head.encode() + part.content + f"\r\n--{border}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={border}"}
        return _parsed(self._exchange("POST", path, data=data, headers=headers, timeout=300), suite=self._suite)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = _TIMEOUT_S,
    ) -> Any:
        """One request below `/api/v1`, and its JSON answer. Raises Refused or Unreachable."""
        sent = dict(headers or {})
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        answer = self._exchange(method, _with_query(path, query), data=data, headers=sent, timeout=timeout)
        return _parsed(answer, suite=self._suite)

    def stream(
        self, path: str, *, query: Mapping[str, Any], timeout: float, headers: Mapping[str, str] | None = None
    ) -> "Stream":
        """An answer to be read as it comes: events, or a download. Raises Refused or Unreachable."""
        sent = {"Accept": "text/event-stream, text/plain, */*", **(headers or {})}
        response = self._begin("GET", _with_query(path, query), data=None, headers=sent, timeout=timeout)
        if response.status >= 400:
            _parsed((response.status, response.headers.get_content_type(), response.read()), suite=self._suite)
        return response

    def _exchange(
        self, method: str, path: str, *, data: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> tuple[int, str, bytes]:
        response = self._begin(method, path, data=data, headers=headers, timeout=timeout)
        try:
            self.status = response.status
            self.headers = dict(response.headers)
            return response.status, response.headers.get_content_type(), response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(f"{self._suite.url} broke off its answer ({_words(error)}): try again") from error

    def _begin(
        self, method: str, path: str, *, data: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> http.client.HTTPResponse:
        reused = self._connection is not None
        connection = self._connected(timeout)
        sent = {"Accept": "application/json", "Authorization": f"Bearer {self._suite.token}", **headers}
        try:
            connection.request(method, f"{self._base}/api/v1{path}", body=data, headers=sent)
            return connection.getresponse()
        except TimeoutError as error:
            self.close()
            raise Unreachable(f"{self._suite.url} did not answer within {timeout:g} s: is it overloaded?") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if reused and (method == "GET" or "Idempotency-Key" in headers):
                # The server may close an idle connection at any time; a new one is not the same as an absent server.
                return self._begin(method, path, data=data, headers=headers, timeout=timeout)
            raise self._absent(error) from error

    def _connected(self, timeout: float) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=timeout)
            try:
                self._connection.connect()
            except OSError as error:
                self.close()
                raise self._absent(error) from error
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sock.settimeout(timeout)
        return self._connection

    def _absent(self, error: Exception) -> Unreachable:
        return Unreachable(f"No Kirby at {self._suite.url} ({_words(error)}): {self._suite.if_absent}")


Stream = http.client.HTTPResponse


def _with_query(path: str, query: Mapping[str, Any] | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def _parsed(answer: tuple[int, str, bytes], *, suite: Suite) -> Any:
    status, kind, data = answer
    if status < 400 and not data:
        return None
    try:
        parsed = json.loads(data) if kind.endswith("json") else None
    except ValueError:
        parsed = None
    if parsed is None:
        told = f"{suite.url} answers, but not as Kirby does (HTTP {status}, {kind})"
        raise Unreachable(f"{told}: is {suite.named_by} right?")
    if status < 400:
        return parsed
    raise Refused(_sentence(parsed, status=status, suite=suite), status=status, problem=parsed)


def _sentence(problem: Any, *, status: int, suite: Suite) -> str:
    detail = problem.get("detail") if isinstance(problem, dict) else None
    told = str(detail) if detail else f"{suite.url} answered HTTP {status}"
    if isinstance(problem, dict) and problem.get("type") == "urn:kirby:problem:http" and status in (404, 405):
        return f"The Kirby at {suite.url} does not know this request: is it older than this command?"
    if status == 401:
        return f"{told}: is {suite.proved_by} the right one for {suite.url}?"
    return told


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
