"""A script tells Kirby what it reads and writes, so that the graph shows it."""

import os
import time
from typing import Any, Generic, TypeVar, overload
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import orjson

from kirby import _retry
from kirby._context import ctx
from kirby._effects import Rerun, of_script
from kirby._logging import tell
from kirby._secret import run_token
from kirby.errors import KirbyError

S = TypeVar("S")
_TIMEOUT_S = 10.0


class Refused(KirbyError):
    """The api answered with another status than 200; `status` is None when it did not answer."""

    def __init__(self, sentence: str, status: int | None) -> None:
        super().__init__(sentence)
        self.status = status


class Kirby(Generic[S]):
    """The script's registration. `signature` is read as `ctx` reads it, and then is `settings`.

    `rerun="allow"`: the script's side effects may be repeated, so that a re-run holds none back (see `HeldBack`).

    `add_source` and `add_destination` take a Topic, or a topic's name. Outside Kirby (no `KIRBY_URL` and `ID`) they do
    nothing; a topic that Kirby has not been told of, or an api that does not answer, is told on stderr and is no error:
    the script's work does not depend on it.

    >>> import os
    >>> os.environ["STATION"] = "KSEA"
    >>> class Settings:
    ...     STATION: str
    >>> app = Kirby(Settings)
    >>> app.add_source("weather.raw")
    >>> app.settings.STATION
    'KSEA'
    """

    settings: S

    @overload
    def __init__(self: "Kirby[None]", signature: None = None, *, rerun: Rerun = "hold") -> None: ...
    @overload
    def __init__(self, signature: type[S], *, rerun: Rerun = "hold") -> None: ...
    def __init__(self, signature: type[Any] | None = None, *, rerun: Rerun = "hold") -> None:
        """Raises `MissingVariable` and `BadVariable`, as `ctx(signature)`."""
        of_script(rerun)
        self.settings = ctx(signature) if signature is not None else None  # type: ignore[assignment]
        self._told: set[tuple[str, str]] = set()

    def add_source(self, topic: Any) -> None:
        """The script reads this topic."""
        self._register("source", topic)

    def add_destination(self, topic: Any) -> None:
        """The script writes this topic."""
        self._register("destination", topic)

    def _register(self, direction: str, topic: Any) -> None:
        name = topic if isinstance(topic, str) else str(topic.name)
        script = os.environ.get("ID")
        if not script or not api_address() or (direction, name) in self._told:
            return
        try:
            register(script, **{f"{direction}_id": topic_id(name)})
            self._told.add((direction, name))
        except Refused as error:
            tell("WARNING", f"the {direction} {name!r} is not registered: {error}")


def api_address() -> str | None:
    """Where the api is."""
    return os.environ.get("KIRBY_URL") or os.environ.get("KIRBY_WEB_SERVER")


def topic_id(name: str) -> str:
    """The id that Kirby has for a topic. Raises Refused."""
    return str(call("GET", "topic", query={"name": name})["id"])


def register(script_id: str, *, source_id: str | None = None, destination_id: str | None = None) -> None:
    """PATCH /registration. Raises Refused."""
    form = {"script_id": script_id, "source_id": source_id, "destination_id": destination_id}
    call("PATCH", "registration", form={name: value for name, value in form.items() if value is not None})


def call(
    method: str,
    path: str,
    *,
    query: dict[str, str] | None = None,
    form: dict[str, str] | None = None,
    body: Any = None,
) -> Any:
    """One question to the api, with the run's token, tried again as web services are. `body` is sent as JSON.

    Raises Refused.
    """
    address = api_address()
    if address is None:
        raise Refused("KIRBY_URL is not set: start the script by Kirby, or set the api's address", None)
    url = f"{address.rstrip('/')}/{path}" + (f"?{urlencode(query)}" if query else "")
    if not url.startswith(("http://", "https://")):
        raise Refused(f"KIRBY_URL is not an http address: {address}", None)
    retries, attempt = _retry.from_environment(), 1
    while True:
        data = urlencode(form).encode() if form else None if body is None else orjson.dumps(body)
        request = Request(url, method=method, data=data)  # noqa: S310
        if body is not None:
            request.add_header("Content-Type", "application/json")
        token = run_token() or os.environ.get("KIRBY_TOKEN")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                return orjson.loads(answer.read() or b"null")
        except HTTPError as error:
            refused = Refused(f"Kirby's api answered {error.code}: {_reason(error)}", error.code)
            wait = retries.next_wait(method, attempt=attempt, status=error.code)
        except (URLError, OSError) as error:
            refused = Refused(f"Kirby's api at {address} does not answer: {error}", None)
            # To register twice is to register once.
            wait = retries.next_wait("PUT", attempt=attempt, status=None)
        if wait is None:
            raise refused
        attempt += 1
        time.sleep(wait)


def _reason(error: HTTPError) -> str:
    try:
        told = orjson.loads(error.read())
    except (ValueError, OSError):
        return error.reason
    return str(told.get("detail") or told.get("message") or told.get("title") or error.reason)
