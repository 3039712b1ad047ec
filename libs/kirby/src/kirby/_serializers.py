"""How values become bytes and come back. JSON needs nothing besides Kirby; the others say what to install."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from kirby.errors import KirbyError

CONTENT_TYPE = "content-type"
_JSON = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


class Serializer(NamedTuple):
    """A way to write values. `encode` and `decode` raise whatever they like: the Topic names topic, place and reason.

    `encode` gets what `send` got, never None; `decode` gets the bytes of a message, never None.

    >>> upper = Serializer("text/plain", encode=lambda text: text.upper().encode(), decode=bytes.decode)
    >>> upper.decode(upper.encode("ok"))
    'OK'
    """

    content_type: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


class UnknownSerializer(KirbyError):
    """A serializer that the SDK does not know by that name."""

    def __init__(self, name: object) -> None:
        super().__init__(f"There is no serializer {name!r}: use {', '.join(sorted(_MAKERS))}, or a kirby.Serializer")
        self.name = name


def find(wanted: str | Serializer, *, model: Any = None) -> Serializer:
    """The serializer of that name, or of a model. Raises UnknownSerializer, and KirbyError for a missing package."""
    if model is not None:
        return _of_model(model)
    if isinstance(wanted, Serializer):
        return wanted
    maker = _MAKERS.get(wanted)
    if maker is None:
        raise UnknownSerializer(wanted)
    return maker()


def needed(module: str, *, extra: str, what: str) -> Any:
    """An optional package. Raises KirbyError, which names the install line."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise KirbyError(f"{what} needs {module.split('.')[0]}: pip install 'kirby[{extra}]'") from error


def _json_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        # Most values need none of the options, which make it half as fast.
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(value, default=_plain, option=_JSON)


def _plain(value: Any) -> Any:
    """A pydantic model, without importing pydantic; everything else is refused."""
    dump = getattr(value, "model_dump", None)
    if dump is None:
        raise TypeError(f"a {type(value).__name__} is not")
    return dump(mode="json")


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"a {type(value).__name__} is not bytes")
    return bytes(value)


def _json() -> Serializer:
    return Serializer("application/json", _json_bytes, orjson.loads)


def _raw() -> Serializer:
    return Serializer("application/octet-stream", _bytes, bytes)


def _msgpack() -> Serializer:
    msgpack = needed("msgpack", extra="msgpack", what="serializer='msgpack'")
    return Serializer("application/msgpack", msgpack.packb, msgpack.unpackb)


def _arrow() -> Serializer:
    """Tables and record batches, as an Arrow IPC stream."""
    arrow = needed("pyarrow", extra="arrow", what="serializer='arrow'")

    def encode(value: Any) -> bytes:
        table = arrow.table(value) if isinstance(value, dict) else value
        sink = arrow.BufferOutputStream()
        with arrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write(table)
        return bytes(sink.getvalue())

    def decode(data: bytes) -> Any:
        with arrow.ipc.open_stream(data) as reader:
            return reader.read_all()

    return Serializer("application/vnd.apache.arrow.stream", encode, decode)


def _of_model(model: Any) -> Serializer:
    """JSON that is checked both ways; a mapping or another model's instance is taken for what it says."""
    pydantic = needed("pydantic", extra="pydantic", what="Topic(model=…)")
    adapter = pydantic.TypeAdapter(model)
    plain = isinstance(model, type)

    def encode(value: Any) -> bytes:
        checked = value if plain and isinstance(value, model) else adapter.validate_python(value)
        return bytes(adapter.dump_json(checked))

    return Serializer("application/json", encode, adapter.validate_json)


_MAKERS: dict[str, Callable[[], Serializer]] = {"json": _json, "bytes": _raw, "msgpack": _msgpack, "arrow": _arrow}


def why(error: Exception) -> str:
    """A serializer's error in few words; a schema mismatch by its fields."""
    details = getattr(error, "errors", None)
    if not callable(details):
        return str(error)
    found = details()
    some = [f"{'.'.join(map(str, e['loc'])) or 'the value'}: {e['msg']}" for e in found[:3]]
    return "; ".join(some) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
