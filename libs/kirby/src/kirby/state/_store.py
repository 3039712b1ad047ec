"""The owner's local store: of one partition of a State, each key's row as `.latest` has it, and how far the log is in.

RocksDB (ADR 19). Rows and offset are written in one batch, so after a crash they fit each other; the log is the truth,
and what the store lacks is folded in again from its offset. A store that can't be read is thrown away.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson

from kirby._serializers import needed

T = TypeVar("T")
_ABOUT = b"\0about"
"""No key of a State has a zero byte."""
_FORMAT = 1
_BUFFER_BYTES = 8 << 20
_CACHE_BYTES = 16 << 20


class StoreCorrupt(Exception):
    """The store can't be read: it is to be made anew."""


class Store:
    """`folder` None: a folder of this process only, which goes with it. `identity`: whose rows these are; a store of
    something else, for example of a topic that was deleted since, is thrown away. Raises OSError."""

    def __init__(self, folder: Path | None, *, identity: str) -> None:
        self._rocks = needed("rocksdict", extra="state", what="kirby.OwnedState")
        self._identity = identity
        self._lock, self._folder = _locked(folder)
        self._is_kept = self._lock is not None
        self._db: Any = None
        self.applied: int | None = None
        """Every mutation below this offset of the log is in the rows, and none at or after it; None in a new store."""
        try:
            self._open()
        except StoreCorrupt:
            self.clear()

    def _open(self) -> None:
        self._db = self._read(lambda: self._rocks.Rdict(str(self._folder / "rows"), self._options()))
        told = self._read(lambda: self._db.get(_ABOUT))
        about = orjson.loads(told) if told else {}
        if about and (about.get("format"), about.get("of")) != (_FORMAT, self._identity):
            raise StoreCorrupt("it is another State's")
        self.applied = about.get("applied")
        if not about:
            self.save((), applied=None)

    def get(self, key: str) -> bytes | None:
        """A key's row. Raises StoreCorrupt."""
        found: bytes | None = self._read(lambda: self._db.get(key.encode()))
        return found

    def scan(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """The rows of the keys that begin so, by key. Raises StoreCorrupt."""
        begin = prefix.encode()
        rows = self._db.iter()
        # Not `items`, which ends at what can't be read as if nothing came after it.
        rows.seek(begin or b"\1")
        while rows.valid() and (key := rows.key()).startswith(begin):
            yield key.decode(), rows.value()
            rows.next()
        self._read(rows.status)

    def save(self, rows: Iterable[tuple[str, bytes]], *, applied: int | None) -> None:
        """Write the rows, and how far the log is in them then; all or nothing. Raises StoreCorrupt."""
        batch = self._rocks.WriteBatch(raw_mode=True)
        for key, row in rows:
            batch.put(key.encode(), row)
        batch.put(_ABOUT, orjson.dumps({"format": _FORMAT, "of": self._identity, "applied": applied}))
        self._read(lambda: self._db.write(batch))
        self.applied = applied

    def clear(self) -> None:
        """Forget everything. Raises OSError."""
        self._shut()
        shutil.rmtree(self._folder / "rows", ignore_errors=True)
        self.applied = None
        try:
            self._open()
        except StoreCorrupt as error:
            raise OSError(f"a State's local store can't be made in {self._folder}: {error}") from error

    def close(self) -> None:
        self._shut()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if not self._is_kept:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _shut(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _read(self, step: Callable[[], T]) -> T:
        try:
            return step()
        except Exception as error:
            # The driver has no type of its own for them.
            raise StoreCorrupt(str(error)) from error

    def _options(self) -> Any:
        """Bounded: two buffers and a cache a partition."""
        options = self._rocks.Options(raw_mode=True)
        options.set_write_buffer_size(_BUFFER_BYTES)
        options.set_max_write_buffer_number(2)
        options.set_keep_log_file_num(1)
        options.set_max_open_files(64)
        blocks = self._rocks.BlockBasedOptions()
        blocks.set_block_cache(self._rocks.Cache(_CACHE_BYTES))
        options.set_block_based_table_factory(blocks)
        return options


def folder_of(cluster: str, topic: str, partition: int) -> Path:
    """Below `KIRBY_STATE_DIR`, by default a folder of this user."""
    root = os.environ.get("KIRBY_STATE_DIR") or str(Path.home() / ".local/share/kirby/states")
    return Path(root) / cluster / topic / str(partition)


def _locked(folder: Path | None) -> tuple[int | None, Path]:
    """The folder if nobody else on this host has it, with its lock; else one of our own."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            return lock, folder
    return None, Path(tempfile.mkdtemp(prefix="kirby-state-"))
