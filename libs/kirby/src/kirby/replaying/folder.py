"""A folder as the target of a replay: `topics/<topic>/<nnn>.json`, as tests read it.

A file holds a message, or in `.jsonl` one a line when there are many; they follow each other by their names. How far
the copy is stands in `.replay.json`. A file's name hangs on that, so that one who goes on after a crash writes the same
file again and doubles nothing.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from kirby.replaying.ports import Copied, Extent, ReplayRefused
from kirby.testing.folders import as_sent

MOST_FILES = 100
"""Of more messages than this, a file holds many."""
_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


class FolderTarget:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._progress = folder / ".replay.json"
        self._known: dict[str, Any] = {}

    def begin(self, extent: Extent) -> Mapping[int, int]:
        topic = self._folder / "topics" / extent.name
        self._known = orjson.loads(self._progress.read_bytes()) if self._progress.exists() else {}
        told = self._known.get(extent.name)
        if told is None and topic.is_dir() and any(topic.iterdir()):
            raise ReplayRefused(f"{topic} has files that no replay made: choose another folder, or empty it")
        if told is not None and told["site"] != list(extent.site):
            raise ReplayRefused(f"{topic} has messages of another source: choose another folder, or empty it")
        topic.mkdir(parents=True, exist_ok=True)
        if told is None:
            size = sum(end - begin for begin, end in extent.spans.values())
            told = {"site": list(extent.site), "files": 0, "single": size <= MOST_FILES, "reached": {}}
            self._known[extent.name] = told
        return {int(number): offset for number, offset in told["reached"].items()}

    def put(self, extent: Extent, partition: int, records: Sequence[Copied], following: int) -> None:
        told = self._known[extent.name]
        topic = self._folder / "topics" / extent.name
        forms = [as_file(record) for record in records]
        files: list[tuple[str, bytes]] = []
        if told["single"]:
            files = [("json", orjson.dumps(form, option=_PRETTY)) for form in forms]
        elif forms:
            files = [("jsonl", b"".join(orjson.dumps(form) + b"\n" for form in forms))]
        for number, (suffix, content) in enumerate(files, start=told["files"] + 1):
            _write(topic / f"{number:06}.{suffix}", content)
        told["files"] += len(files)
        told["reached"][str(partition)] = following
        _write(self._progress, orjson.dumps(self._known))

    def close(self) -> None:
        """Each `put` has left all on disk."""


def as_file(record: Copied) -> dict[str, Any]:
    """The message as a test's file has it; Kirby's own header is left out."""
    return as_sent(record.key, record.value, record.headers, at_ms=record.at_ms).as_json()


def _write(path: Path, content: bytes) -> None:
    """At once and as a whole."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
