"""Server-sent events as bytes: lines in batches, ids to resume from."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from kirby_api.logs.follow import Item
from kirby_api.logs.lines import Line
from kirby_api.logs.pages import LineFilter
from kirby_api.logs.position import Position, format_position

MAX_LINES = 500
MAX_BYTES = 262_144


def event(name: str, data: Any, *, id_: str | None = None) -> bytes:
    """One event; the data is one line of JSON."""
    head = b"" if id_ is None else b"id: " + id_.encode() + b"\r\n"
    return head + b"event: " + name.encode() + b"\r\ndata: " + orjson.dumps(data, default=str) + b"\r\n\r\n"


def run_events(items: Iterable[Item], *, wanted: LineFilter, given: Position) -> Iterator[bytes]:
    """The events of a batch; `given` moves on with the lines that they hold."""
    forms: list[dict[str, Any]] = []
    size = 0
    for item in items:
        if isinstance(item, Line):
            given[item.grant] = (item.seq, item.index)
            if wanted.passes(item):
                forms.append(item.form())
                size += len(item.data)
            if len(forms) >= MAX_LINES or size >= MAX_BYTES:
                yield lines_event(forms, id_=format_position(given))
                forms, size = [], 0
        else:
            if forms:
                yield lines_event(forms, id_=format_position(given))
                forms, size = [], 0
            yield event("gap", item.form(), id_=format_position(given) if given else None)
    if forms:
        yield lines_event(forms, id_=format_position(given))


def lines_event(forms: list[dict[str, Any]], *, id_: str | None) -> bytes:
    """`line` with one object, or `lines` with an array."""
    return event("line", forms[0], id_=id_) if len(forms) == 1 else event("lines", forms, id_=id_)
