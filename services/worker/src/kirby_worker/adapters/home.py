"""The worker's home folder: locked by one worker at a time, with an identity that outlives it."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from kirby_worker.domain.attempt import Ref


class HomeInUse(RuntimeError):
    """Another worker has locked the folder."""

    def __init__(self, *, name: str, host: str, since: str) -> None:
        super().__init__(f"supervisor name '{name}' is in use by {host} since {since}")
        self.name = name


class HomeUnusable(RuntimeError):
    """The folder can't be made or written."""


@dataclass(frozen=True)
class Home:
    """The folders below the home, and its identity."""

    path: Path
    home_id: UUID

    @property
    def venvs(self) -> Path:
        return self.path / "venvs"

    @property
    def locks(self) -> Path:
        return self.path / "locks"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    def run_folder(self, ref: Ref) -> Path:
        return self.runs / str(ref)

    def run_folders(self) -> list[tuple[Ref, Path]]:
        """The attempts that have a folder here, whatever became of them."""
        found = []
        for path in sorted(self.runs.iterdir()):
            run_id, _, grant = path.name.partition(".")
            try:
                found.append((Ref(UUID(run_id), int(grant)), path))
            except ValueError:
                continue  # Not one of ours.
        return found

    def make_run_folder(self, ref: Ref, *, owner: int | None) -> Path:
        """A fresh folder for an attempt, with the script's working folder in it."""
        path = self.run_folder(ref)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(mode=0o711)
        work = path / "work"
        work.mkdir(mode=0o700)
        if owner is not None:
            os.chown(work, owner, -1)
        return path

    def disk_used(self) -> float:
        """The used share of the disk that holds the home."""
        usage = shutil.disk_usage(self.path)
        return 1 - usage.free / usage.total


@contextmanager
def locked_home(path: Path, *, name: str, host: str) -> Iterator[Home]:
    """The home, for as long as this process holds its lock. Raises `HomeInUse`, `HomeUnusable`."""
    try:
        for folder in (path, path / "venvs", path / "locks", path / "runs"):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HomeUnusable(f"the worker's folder {path} can't be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(fd)
            raise HomeInUse(name=holder["name"], host=holder["host"], since=holder["since"]) from None
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"name": name, "host": host, "since": since, "pid": os.getpid()}).encode(), 0)
        yield Home(path, _home_id(path))
    finally:
        os.close(fd)


def _holder(fd: int) -> dict[str, Any]:
    unknown: dict[str, Any] = {"name": "?", "host": "this machine", "since": "just now"}
    try:
        written: dict[str, Any] = json.loads(os.pread(fd, 4096, 0))
    except ValueError:
        return unknown  # It is being written.
    return unknown | written


def _home_id(path: Path) -> UUID:
    file = path / "home_id"
    try:
        return UUID(file.read_text().strip())
    except (FileNotFoundError, ValueError):
        fresh = uuid4()
        draft = file.with_suffix(".new")
        draft.write_text(f"{fresh}\n")
        draft.rename(file)
        return fresh


def journal(folder: Path) -> dict[str, dict[str, Any]]:
    """The facts that a shim wrote down, by kind; what is cut short is left out."""
    facts: dict[str, dict[str, Any]] = {}
    try:
        lines = (folder / "journal").read_bytes().splitlines()
    except FileNotFoundError:
        return facts
    for line in lines:
        try:
            fact = json.loads(line)
        except ValueError:
            continue  # A crash in the middle of the write.
        facts[fact["t"]] = fact
    return facts
