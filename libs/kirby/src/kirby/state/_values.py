"""A State's values: bytes by the SDK's serializers, and a place for the large ones."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from kirby._serializers import Serializer, find, why
from kirby.errors import BadValue
from kirby.files import store_of, told
from kirby.state.errors import ValueLost
from kirby.state.records import JSON, Value

LARGE_BYTES = 262_144
"""Values of more bytes are kept in the object store, and the log has their hash."""
_SCHEME = b"sha256:"


class Values:
    """Writes and reads values with one serializer. What another one wrote is read as its content type says."""

    def __init__(self, name: str, serializer: Serializer, *, objects: str | None = None) -> None:
        self._name = name
        self._serializer = serializer
        self._objects = objects

    def encode(self, value: Any) -> Value:
        """Raises BadValue, and StoreUnavailable for a large value that can't be kept."""
        if value is None:
            raise BadValue(self._name, "None is what a key that is not set has; delete the key instead")
        try:
            data = self._serializer.encode(value)
        except Exception as error:
            raise BadValue(self._name, why(error)) from error
        if len(data) <= LARGE_BYTES:
            return Value(data, self._serializer.content_type)
        digest = hashlib.sha256(data).hexdigest()
        _store(self._objects).put(digest, data)
        return Value(_SCHEME + digest.encode(), self._serializer.content_type, stored=True)

    def decode(self, value: Value) -> Any:
        """Raises BadValue for what its serializer can't read, ValueLost for a large value that is gone,
        StoreUnavailable for one that can't be had now."""
        data = self._fetched(value) if value.stored else value.data
        serializer = self._serializer
        try:
            if value.content_type != serializer.content_type:
                serializer = _by_content_type(value.content_type)
            return serializer.decode(data)
        except Exception as error:
            raise BadValue(self._name, f"a {value.content_type} can't be read: {why(error)}") from error

    def _fetched(self, value: Value) -> bytes:
        digest = value.data.removeprefix(_SCHEME).decode(errors="replace")
        return _store(self._objects).get(digest)


@lru_cache(maxsize=8)
def _by_content_type(content_type: str) -> Serializer:
    """What wrote it, as far as the SDK has it; the bytes themselves for the rest."""
    names = {JSON: "json", "application/msgpack": "msgpack", "application/vnd.apache.arrow.stream": "arrow"}
    return find(names.get(content_type, "bytes"))


class _Objects:
    """Objects by their hash, in a folder or a bucket."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._store, self._folder = store_of(self._url)

    def put(self, digest: str, data: bytes) -> None:
        """Writing it again writes the same. Raises StoreUnavailable."""
        with told(self._url):
            self._store.put(self._place(digest), data)

    def get(self, digest: str) -> bytes:
        """Raises ValueLost, StoreUnavailable."""
        where = f"{self._url}/{_path(digest)}"
        try:
            with told(self._url):
                data = self._store.get(self._place(digest))
        except FileNotFoundError as error:
            raise ValueLost(where, "it is not there") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueLost(where, "it has another hash")
        return data

    def _place(self, digest: str) -> str:
        return f"{self._folder}/{_path(digest)}" if self._folder else _path(digest)


def _path(digest: str) -> str:
    return f"states/{digest[:2]}/{digest}"


def _store(url: str | None) -> _Objects:
    return _opened(url or os.environ.get("KIRBY_OBJECTS_URL") or str(Path.home() / ".local/share/kirby/objects"))


@lru_cache(maxsize=4)
def _opened(url: str) -> _Objects:
    return _Objects(url)
