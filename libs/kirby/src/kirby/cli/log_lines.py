"""Lines of logs: stored ones page by page, live ones as they come, over any break of the connection."""

import http.client
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from kirby.cli.client import Client, ref
from kirby.cli.errors import Unreachable
from kirby.cli.event_stream import LAST_ID, SILENCE_S, Event, events

Line = Mapping[str, Any]


class Ended(Exception):
    """The followed run is over; `run` is its JSON."""

    def __init__(self, run: Mapping[str, Any]) -> None:
        super().__init__(run.get("run_id"))
        self.run = run


def stored(client: Client, run_id: str, *, tail: int | None, level: str | None) -> Iterator[Line]:
    """The lines recorded so far; gaps are told on stderr."""
    after: Any = None
    while True:
        page = client.get(f"/runs/{ref(run_id)}/logs", limit=10_000, tail=tail, level=level, after=after)
        for gap in page.get("gaps") or ():
            _tell_gap(gap)
        if page.get("detail"):
            print(page["detail"], file=sys.stderr)
        yield from page["items"]
        after = page.get("next")
        if tail is not None or after is None:
            return


def download(client: Client, run_id: str) -> Iterator[bytes]:
    """Everything recorded so far, byte for byte as the script wrote it."""
    try:
        with client.stream(f"/runs/{ref(run_id)}/logs", query={"format": "text"}, timeout=SILENCE_S) as response:
            # A run that has no log yet is answered with an empty page.
            while response.headers.get_content_type() == "text/plain" and (chunk := response.read1(1 << 16)):
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable("The log broke off before its end: ask again") from error
    finally:
        client.close()


def follow(client: Client, run_id: str, *, level: str | None = None, after: str | None = None) -> Iterator[Line]:
    """Lines after the one with the id `after`, as they are printed. Raises Ended with the run when it is over."""
    last = after

    def query() -> dict[str, Any]:
        # By the lines' own ids, which are exact also in the middle of an event.
        return {"level": level, "after": last}

    for event in events(client, f"/runs/{ref(run_id)}/logs/stream", query=query):
        if event.kind == "end":
            raise Ended(event.data)
        for line in _lines(event):
            last = line["id"]
            yield line


def follow_all(client: Client, *, job: str | None, env: str | None, level: str | None, backlog: int) -> Iterator[Line]:
    """Lines of every run, the last `backlog` first; each names its run, job and environment. Never ends."""
    position: str | None = None

    def query() -> dict[str, Any]:
        where = {LAST_ID: position} if position else {"backlog": backlog}
        return {"job": job, "env": env, "level": level, **where}

    for event in events(client, "/logs/stream", query=query):
        yield from _lines(event)
        position = event.id or position


def text_of(line: Line) -> str:
    """The line's text; a very long one says how much of it is left out."""
    return f"{line['text']} … ({line['cut']} bytes more)" if line.get("cut") else str(line["text"])


def _lines(event: Event) -> Iterator[Line]:
    if event.kind == "line":
        yield event.data
    elif event.kind == "lines":
        yield from event.data
    elif event.kind == "gap":
        _tell_gap(event.data)


def _tell_gap(gap: Mapping[str, Any]) -> None:
    """A hole in a log is never passed over in silence."""
    where = ", ".join(f"{name} {value}" for name, value in gap.items() if value is not None)
    print(f"… lines are missing here ({where})", file=sys.stderr)
