"""Files, on this machine or in an object store, by their address."""

import fnmatch
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import orjson

from kirby import _drain
from kirby._effects import Rerun, effect
from kirby._process import process
from kirby._serializers import needed
from kirby.errors import KirbyError


class FileAbsent(KirbyError):
    """There is no file at the address."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"There is no file {uri}")
        self.uri = uri


class StoreUnavailable(KirbyError):
    """The store did not do it; the text has its reason. Worth another try when it was the network."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"The store of {uri} did not do it: {reason}")
        self.uri = uri


@dataclass(frozen=True)
class Stat:
    """A file as a listing shows it: `mark` changes whenever its content does."""

    path: str
    size: int
    modified: datetime
    mark: str


class Store(Protocol):
    """Where files lie; paths are relative to it, with `/`."""

    def get(self, path: str) -> bytes:
        """The content. Raises FileNotFoundError, and the store's own errors."""

    def put(self, path: str, data: bytes) -> None:
        """Write the content, whole or not at all: no reader sees a part. Raises the store's own errors."""

    def head(self, path: str) -> Stat | None:
        """Size in bytes, time and mark; None when there is no such file."""

    def list(self, prefix: str) -> Iterable[Stat]:
        """All files whose paths begin so, in folders, too, in no order."""

    def delete(self, path: str) -> None:
        """No error when it is not there."""


class File:
    """A file, or a folder of files when the address ends in `/`.

    `uri`: a path of this machine, `file:///…`, or `s3://bucket/key`, `gs://…`, `az://…` (these need
    `pip install 'kirby[files]'` and take their credentials from the environment, as their own tools do).

    Raises `FileAbsent`, and `StoreUnavailable` with the store's reason.

    >>> import tempfile
    >>> report = File(tempfile.mkdtemp() + "/report.json")
    >>> report.exists()
    False
    >>> report.write_json({"celsius": 11.4})
    >>> report.read_json(), report.name
    ({'celsius': 11.4}, 'report.json')
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self.uri: str = os.fspath(uri)
        self._store, self._path = _locate(self.uri)

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self._path.rstrip("/").rpartition("/")[2]

    def read(self) -> bytes:
        """The content."""
        try:
            with told(self.uri):
                content = self._store.get(self._path)
        except FileNotFoundError:
            raise FileAbsent(self.uri) from None
        process().touched("file", self._address(), direction="in")
        return content

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content as text. Raises `UnicodeDecodeError` too."""
        return self.read().decode(encoding)

    def read_json(self) -> Any:
        """The content, parsed. Raises `ValueError` too."""
        return orjson.loads(self.read())

    def write(self, content: bytes | str, *, rerun: Rerun | None = None) -> None:
        """Replace the content, at once and as a whole: whoever reads sees the old or the new.

        In a re-run it raises `HeldBack` unless `rerun="allow"`; `write_json` and `delete` do so, too.
        """
        effect(f"writing {self.uri}", rerun=rerun)
        with told(self.uri):
            self._store.put(self._path, content.encode() if isinstance(content, str) else content)
        process().touched("file", self._address())

    def write_json(self, value: Any, *, rerun: Rerun | None = None) -> None:
        """Replace the content by `value` as JSON."""
        self.write(orjson.dumps(value), rerun=rerun)

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.stat() is not None

    def stat(self) -> Stat | None:
        """Its size in bytes and when it was modified; None when it is not there."""
        with told(self.uri):
            return self._store.head(self._path)

    def delete(self, *, rerun: Rerun | None = None) -> None:
        """Delete it; no error when it is not there."""
        effect(f"deleting {self.uri}", rerun=rerun)
        with told(self.uri):
            self._store.delete(self._path)
        process().touched("file", self._address())

    def files(self, pattern: str = "*") -> list["File"]:
        """The files of this folder whose names match, in the order of their addresses."""
        return [self._below(stat.path) for stat in sorted(self._listing(pattern), key=lambda s: s.path)]

    def watch(self, pattern: str = "*", *, every: float = 5.0, timeout: float | None = None) -> Iterator["File"]:
        """The files of this folder, then each that is new or has changed, oldest first; until SIGTERM.

        Looks `every` so many seconds; a file is given once two looks have found it unchanged, so none that is still
        being written. Ends after `timeout` seconds without one. What was given is forgotten with the process: keep
        it in a State or a Topic to know it after a restart.
        """
        seen = Seen()
        quiet_since = time.monotonic()
        while not _drain.asked:
            for stat in seen.look(self._listing(pattern)):
                yield self._below(stat.path)
                quiet_since = time.monotonic()
            left = every if timeout is None else quiet_since + timeout - time.monotonic()
            if left <= 0:
                return
            pausing(min(every, left))

    def __repr__(self) -> str:
        return f"File({self.uri!r})"

    def _address(self) -> str:
        """As the lineage names it: the same from every folder, and without a password."""
        parts = urlsplit(self.uri)
        if not parts.scheme:
            return "file://" + os.path.abspath(self.uri)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

    def _listing(self, pattern: str) -> list[Stat]:
        folder = self._path if self._path.endswith("/") or not self._path else self._path + "/"
        with told(self.uri):
            found = list(self._store.list(folder))
        return [s for s in found if fnmatch.fnmatch(s.path[len(folder) :], pattern)]

    def _below(self, path: str) -> "File":
        made = File.__new__(File)
        made._store, made._path = self._store, path
        made.uri = self.uri.rstrip("/") + "/" + path[len(self._path.rstrip("/")) :].lstrip("/")
        return made


class Seen:
    """Which files of a folder are new. Pure.

    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> seen, half, whole = Seen(), Stat("a.csv", 10, at, "1"), Stat("a.csv", 20, at, "2")
    >>> seen.look([half]), seen.look([whole]), seen.look([whole]) == [whole], seen.look([whole])
    ([], [], True, [])
    """

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._given: dict[str, str] = {}

    def look(self, listing: Iterable[Stat]) -> list[Stat]:
        """Those to give out now: unchanged since the look before, and not given out like this yet; oldest first."""
        found = list(listing)
        still = [s for s in found if self._last.get(s.path) == s.mark and self._given.get(s.path) != s.mark]
        self._last = {s.path: s.mark for s in found}
        self._given = {p: m for p, m in self._given.items() if p in self._last} | {s.path: s.mark for s in still}
        return sorted(still, key=lambda s: (s.modified, s.path))


class LocalStore:
    """The disk of this machine, as a `Store`; paths are absolute or relative to the working folder. Raises OSError."""

    def get(self, path: str) -> bytes:
        """The file's bytes. Raises FileNotFoundError."""
        return Path(path).read_bytes()

    def put(self, path: str, data: bytes) -> None:
        """Write beside the file and rename; folders are made. The mode is what the umask leaves of 0666."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(data)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def head(self, path: str) -> Stat | None:
        """Size in bytes and time of modification, by the file system's clock; None when there is no such file."""
        try:
            return _stat(path, os.stat(path))
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterable[Stat]:
        """The files below the folder `prefix`; those whose names begin with a dot are left out."""
        for folder, _, names in os.walk(prefix or "."):
            for name in names:
                path = f"{folder.rstrip('/')}/{name}"
                stat = self.head(path)
                if stat is not None and not name.startswith("."):
                    yield stat

    def delete(self, path: str) -> None:
        """Delete the file; no error when it is not there."""
        Path(path).unlink(missing_ok=True)


class ObjectStore:
    """A bucket, by obstore, as a `Store`. Raises obstore's errors, which `File` tells as `StoreUnavailable`."""

    def __init__(self, address: str) -> None:
        """`address`: `s3://BUCKET` and the like. Raises KirbyError without obstore, or StoreUnavailable."""
        self._obstore = needed("obstore", extra="files", what=f"kirby.File({address!r})")
        with told(address):
            self._bucket = needed("obstore.store", extra="files", what="kirby.File").from_url(address)

    def get(self, path: str) -> bytes:
        """The object's bytes. Raises FileNotFoundError."""
        return bytes(self._obstore.get(self._bucket, path).bytes())

    def put(self, path: str, data: bytes) -> None:
        """Write the object; large ones in parts of 5 MB, which become one."""
        self._obstore.put(self._bucket, path, data)

    def head(self, path: str) -> Stat | None:
        """Size in bytes and time of modification, by the store's clock; None when there is no such object."""
        try:
            return _object(self._obstore.head(self._bucket, path))
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterable[Stat]:
        """The objects below the folder `prefix`, asked for page by page."""
        for some in self._obstore.list(self._bucket, prefix or None):
            yield from map(_object, some)

    def delete(self, path: str) -> None:
        """Delete the object; no error when it is not there."""
        try:
            self._obstore.delete(self._bucket, path)
        except FileNotFoundError:
            return


_chosen: Store | None = None


@contextmanager
def stored_in(store: Store) -> Iterator[None]:
    """Have all Files lie in `store` while the block lasts: for tests and recordings."""
    global _chosen
    before, _chosen = _chosen, store
    try:
        yield
    finally:
        _chosen = before


def _locate(uri: str) -> tuple[Store, str]:
    return (_chosen, uri) if _chosen is not None else store_of(uri)


def store_of(uri: str) -> tuple[Store, str]:
    """The store of an address, and the path in it. Raises KirbyError for an address that names no bucket."""
    parts = urlsplit(uri)
    if parts.scheme in ("", "file"):
        return LocalStore(), unquote(parts.path) if parts.scheme else uri
    if not parts.netloc and parts.scheme != "memory":
        raise KirbyError(f"{uri!r} names no bucket: write {parts.scheme}://BUCKET/PATH")
    return ObjectStore(f"{parts.scheme}://{parts.netloc}"), unquote(parts.path.lstrip("/"))


@contextmanager
def told(uri: str) -> Iterator[None]:
    """The stores' own errors as ours: StoreUnavailable, and FileNotFoundError as it is."""
    try:
        yield
    except (FileNotFoundError, KirbyError):
        raise
    except OSError as error:
        raise StoreUnavailable(uri, error.strerror or str(error)) from error
    except Exception as error:
        if not type(error).__module__.startswith("obstore"):
            raise
        raise StoreUnavailable(uri, str(error).splitlines()[0]) from error


def _stat(path: str, found: os.stat_result) -> Stat:
    modified = datetime.fromtimestamp(found.st_mtime, UTC)
    return Stat(path, found.st_size, modified, f"{found.st_mtime_ns}-{found.st_size}")


def _object(meta: Any) -> Stat:
    mark = str(meta.get("e_tag") or f"{meta['last_modified']}-{meta['size']}")
    return Stat(str(meta["path"]), int(meta["size"]), meta["last_modified"], mark)


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def _pause(seconds: float) -> None:
    """In slices, so that SIGTERM ends it soon."""
    ends = time.monotonic() + seconds
    while not _drain.asked and (left := ends - time.monotonic()) > 0:
        time.sleep(min(0.2, left))


pausing: Callable[[float], None] = _pause
"""How `watch` waits; tests have it not wait."""
