"""Server-sent events: read as they come, and begun again when the connection breaks."""

import http.client
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from kirby.cli.client import Client, Refused, Stream
from kirby.cli.errors import ExitCode, Unreachable

# The server sends a comment every 15 s: a longer silence is a broken connection.
SILENCE_S = 40.0
LAST_ID = "last_event_id"
"""A key of the query that is sent as the header Last-Event-ID."""
_PATIENCE_S = 120.0
_BREATH_S = 1.0


class Event(NamedTuple):
    kind: str
    data: Any
    id: str | None


def events(client: Client, path: str, *, query: Callable[[], Mapping[str, Any]]) -> Iterator[Event]:
    """Events without end. After a break it asks again, with what `query` says then; says so once on stderr.

    Raises Refused, or Unreachable after two minutes of trying.
    """
    broken_since: float | None = None
    while True:
        try:
            for event in _once(client, path, query()):
                broken_since = None
                yield event
        except Unreachable as error:
            broken_since = _waited(broken_since, error)


def _waited(since: float | None, error: Unreachable) -> float:
    now = time.monotonic()
    if since is None:
        print(f"… {error} Trying again.", file=sys.stderr)
    elif now - since > _PATIENCE_S:
        raise error
    time.sleep(_BREATH_S)
    return now if since is None else since


def _once(client: Client, path: str, query: Mapping[str, Any]) -> Iterator[Event]:
    try:
        asked = dict(query)
        headers = {"Last-Event-ID": position} if (position := asked.pop(LAST_ID, None)) else {}
        yield from _parsed(client.stream(path, query=asked, headers=headers, timeout=SILENCE_S))
    except Refused as error:
        if error.code is not ExitCode.UNREACHABLE:
            raise
        raise Unreachable(str(error)) from error
    except TimeoutError as error:
        raise Unreachable("The log stream fell silent.") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable("The log stream broke off.") from error
    finally:
        client.close()
    raise Unreachable("The log stream ended early.")


def _parsed(response: Stream) -> Iterator[Event]:
    rest = b""
    kind, data, event_id = "message", list[bytes](), None
    while chunk := response.read1(65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            name, _, value = line.rstrip(b"\r").partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                kind = value.decode()
            elif name == b"id":
                event_id = value.decode()
            elif not line.strip():
                if data:
                    yield Event(kind, json.loads(b"\n".join(data)), event_id)
                kind, data, event_id = "message", [], None
