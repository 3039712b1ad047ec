"""The files of a case: a store in memory, in which every address has a path below `files/`."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from kirby.files import Stat


class MemoryStore:
    """`s3://bucket/a.csv` lies at `s3/bucket/a.csv`, `/data/a.csv` at `data/a.csv`, `a.csv` at `a.csv`."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._before = dict(files)
        self.files = dict(files)
        self._marks = dict.fromkeys(files, 0)
        self.changes = 0

    def get(self, path: str) -> bytes:
        try:
            return self.files[below(path)]
        except KeyError:
            raise FileNotFoundError(path) from None

    def put(self, path: str, data: bytes) -> None:
        self.files[below(path)] = data
        self.changes += 1
        self._marks[below(path)] = self._marks.get(below(path), 0) + 1

    def head(self, path: str) -> Stat | None:
        name = below(path)
        return self._stat(path, name) if name in self.files else None

    def list(self, prefix: str) -> Iterable[Stat]:
        start = below(prefix)
        return [self._stat(prefix + name[len(start) :], name) for name in self.files if name.startswith(start)]

    def delete(self, path: str) -> None:
        self.files.pop(below(path), None)

    def written(self) -> dict[str, bytes]:
        """Those that are new or have another content than before."""
        return {name: data for name, data in sorted(self.files.items()) if self._before.get(name) != data}

    def _stat(self, path: str, name: str) -> Stat:
        return Stat(path, len(self.files[name]), datetime(2026, 1, 1, tzinfo=UTC), str(self._marks.get(name, 0)))


def below(uri: str) -> str:
    """The path below `files/`.

    >>> below("s3://bucket/a.csv"), below("file:///data/a.csv"), below("./a.csv")
    ('s3/bucket/a.csv', 'data/a.csv', 'a.csv')
    """
    parts = urlsplit(uri)
    if parts.scheme and parts.scheme != "file":
        return f"{parts.scheme}/{parts.netloc}{parts.path}"
    path = parts.path if parts.scheme else uri
    return "/".join(part for part in path.split("/") if part not in ("", ".")) + ("/" if path.endswith("/") else "")
