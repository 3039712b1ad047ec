"""Folders of a home: the home is 0711, everything in it 0700 and owned by the account that uses it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def private_folder(path: Path, *, owner: str | None = None) -> Path:
    """Makes the folder, readable by nobody else. Its parents stay traversable (0711) when an owner is given."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    if owner is not None:
        shutil.chown(path, owner, owner)
    return path


def home_folder(path: Path) -> Path:
    """Makes a home: others may pass through it to folders of their own, but not look around."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o711)
    return path


def write_private(path: Path, content: str) -> None:
    """Replaces the file at once; nobody else can read it, not even for a moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an advisory lock on the file, waiting for it; the kernel lets go when the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
