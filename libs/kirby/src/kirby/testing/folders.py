"""Messages as files: a folder is a topic.

`001.json` holds one message, `001.jsonl` one a line; the files of a folder follow each other by their names.

    {"key": "Seattle", "value": {"celsius": 11.4}, "headers": {"source": "met"}, "timestamp": "2026-01-01T00:00:00Z"}

Every field may be left out. Bytes that are no JSON stand as `"base64": "…"` in the place of `value`; a header that is
no text as `{"base64": "…"}`. With a header `content-type` of `application/msgpack` the value is written as that.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from kirby import lineage
from kirby._serializers import CONTENT_TYPE, Serializer, find
from kirby.errors import KirbyError
from kirby.transport import Headers, Record

MOST_FILES = 20
"""Of more messages than this a folder is written as one file with a message a line."""
_FIELDS = ("key", "value", "base64", "headers", "timestamp")
_JSON = "application/json"
_MSGPACK = "application/msgpack"


class BadFolder(KirbyError):
    """A file that does not say what it should; the text begins with the file, and the line where it is known."""

    def __init__(self, path: Path | str, reason: str, *, line: int | None = None) -> None:
        super().__init__(f"{path}{'' if line is None else f':{line}'}: {reason}")


@dataclass(frozen=True)
class Sent:
    """A message as a test gives or expects it.

    `value` is what JSON can hold, or bytes; None is a deletion mark. `timestamp` is aware; in an expected message None
    stands for any. `where` is the file it was read from.

    >>> Sent({"celsius": 11.4}, key="Seattle").as_json()
    {'key': 'Seattle', 'value': {'celsius': 11.4}}
    """

    value: Any = None
    key: str | None = None
    headers: Mapping[str, str | bytes] = field(default_factory=dict)
    timestamp: datetime | None = None
    where: str = field(default="", compare=False)

    def as_json(self) -> dict[str, Any]:
        """The message as a file holds it."""
        made: dict[str, Any] = {} if self.key is None else {"key": self.key}
        made |= {"base64": _base64(self.value)} if isinstance(self.value, bytes) else {"value": self.value}
        if self.headers:
            made["headers"] = {
                name: {"base64": _base64(value)} if isinstance(value, bytes) else value
                for name, value in self.headers.items()
            }
        if self.timestamp is not None:
            made["timestamp"] = self.timestamp.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return made

    def encoded(self) -> tuple[bytes | None, bytes | None, Headers]:
        """Value, key and headers as they go to Kafka. Raises BadFolder."""
        key = None if self.key is None else self.key.encode()
        headers: Headers = [(n, v.encode() if isinstance(v, str) else v) for n, v in self.headers.items()]
        return self._value_bytes(), key, headers

    def _value_bytes(self) -> bytes | None:
        if self.value is None or isinstance(self.value, bytes):
            return self.value
        try:
            return _serializer(str(self.headers.get(CONTENT_TYPE, _JSON))).encode(self.value)
        except Exception as error:
            raise BadFolder(self.where or "a message", str(error)) from error


def sent(record: Record) -> Sent:
    """A record that was read, as a message of a test. Kirby's own headers are left out."""
    kind, at_ms = record.timestamp()
    return as_sent(record.key(), record.value(), record.headers() or (), at_ms=at_ms if kind else None)


def as_sent(
    key: bytes | None, data: bytes | None, of: Iterable[tuple[str, bytes | None]], *, at_ms: int | None
) -> Sent:
    """The same of a record's bytes and headers; `at_ms` None is a message without a time."""
    headers = dict(of)
    content_type = (headers.get(CONTENT_TYPE) or _JSON.encode()).decode(errors="replace")
    shown = {
        name: _text_or_bytes(value or b"")
        for name, value in headers.items()
        if name != lineage.HEADER and (name, content_type) != (CONTENT_TYPE, _JSON)
    }
    return Sent(
        _decoded(data, content_type),
        key=None if key is None else key.decode(errors="replace"),
        headers=shown,
        timestamp=None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC),
    )


def read_topics(folder: Path) -> dict[str, list[Sent]]:
    """The topics below a folder, by their names; none when there is no such folder. Raises BadFolder."""
    if not folder.is_dir():
        return {}
    for path in sorted(folder.iterdir()):
        if not path.is_dir() and not path.name.startswith("."):
            raise BadFolder(path, "a topic is a folder: put the message into a folder with the topic's name")
    return {path.name: read_messages(path) for path in sorted(folder.iterdir()) if path.is_dir()}


def read_messages(folder: Path) -> list[Sent]:
    """The messages of a topic's folder, in the order of the files' names. Raises BadFolder."""
    return [message for path in sorted(folder.iterdir()) for message in _read_file(path)]


def write_messages(folder: Path, messages: Iterable[Sent]) -> int:
    """Write a topic's folder anew, and give how many messages it has now. Other files in it stay."""
    kept = list(messages)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.suffix in (".json", ".jsonl"):
            path.unlink()
    if len(kept) > MOST_FILES:
        (folder / "messages.jsonl").write_text("".join(f"{_line(m)}\n" for m in kept))
    else:
        for number, message in enumerate(kept, start=1):
            (folder / f"{number:03}.json").write_text(pretty(message.as_json()) + "\n")
    return len(kept)


def pretty(value: Any) -> str:
    """JSON for people: indented, keys in their order, and text as it is."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def parsed(path: Path, text: str | bytes, *, first_line: int = 1) -> Any:
    """JSON of a file. Raises BadFolder with the file and the line."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        reason = str(error).partition(": line")[0]
        raise BadFolder(path, f"not JSON ({reason}, column {error.colno})", line=line) from error


def _read_file(path: Path) -> Iterator[Sent]:
    if path.suffix == ".json":
        yield _message(path, parsed(path, path.read_bytes()), where=str(path))
    elif path.suffix == ".jsonl":
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if line.strip():
                told = parsed(path, line, first_line=number)
                yield _message(path, told, where=f"{path}:{number}", line=number)
    elif not path.name.startswith("."):
        raise BadFolder(path, "messages are in files that end in .json or .jsonl")


def _message(path: Path, told: Any, *, where: str, line: int | None = None) -> Sent:
    if not isinstance(told, dict):
        raise BadFolder(path, f"a message is an object with {_listed(_FIELDS)}", line=line)
    for name in told:
        if name not in _FIELDS:
            raise BadFolder(path, f"unknown field {name!r}: a message has {_listed(_FIELDS)}", line=line)
    try:
        return Sent(
            base64.b64decode(told["base64"], validate=True) if "base64" in told else told.get("value"),
            key=_text(told.get("key"), "key"),
            headers={name: _header(value, name) for name, value in (told.get("headers") or {}).items()},
            timestamp=_moment(told.get("timestamp")),
            where=where,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise BadFolder(path, str(error), line=line) from error


def _text(value: Any, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is text, not {value!r}")
    return value


def _header(value: Any, name: str) -> str | bytes:
    if isinstance(value, dict) and set(value) == {"base64"}:
        return base64.b64decode(value["base64"], validate=True)
    if not isinstance(value, str):
        raise ValueError(f'the header {name!r} is text or {{"base64": "…"}}, not {value!r}')
    return value


def _moment(text: Any) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the timestamp {text} has no zone: write 2026-01-01T12:00:00Z")
    return moment


def _decoded(data: bytes | None, content_type: str) -> Any:
    """The value, where it is one that JSON can hold; else the bytes."""
    if data is None:
        return None
    try:
        value = _serializer(content_type).decode(data)
        orjson.dumps(value)
    except Exception:
        return data
    return data if isinstance(value, bytes) else value


def _serializer(content_type: str) -> Serializer:
    return find({_JSON: "json", _MSGPACK: "msgpack"}.get(content_type, "bytes"))


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _line(message: Sent) -> str:
    return json.dumps(message.as_json(), ensure_ascii=False)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
