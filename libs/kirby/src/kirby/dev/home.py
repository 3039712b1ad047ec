"""A home: the one folder of a `kirby dev`, its lock, its secrets and its recorded ports."""

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kirby.dev.folders import home_folder, private_folder, write_private
from kirby.dev.parts import free_port, is_free

VERSION = 1
"""The layout of a home. A newer one is refused; an older one is brought up to date where it differs."""


class HomeUnusable(RuntimeError):
    """The folder can't be a home; the message is a sentence for the user."""


class HomeInUse(RuntimeError):
    """Another `kirby dev` holds the home. `pid` is its process."""

    def __init__(self, path: Path, *, pid: int) -> None:
        super().__init__(f"kirby dev already runs in {path} (process {pid}); `kirby dev stop` ends it")
        self.pid = pid


class Home:
    def __init__(self, path: Path) -> None:
        self.path: Path = path.absolute()

    @property
    def state_file(self) -> Path:
        return self.path / "kirby.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def lock_file(self) -> Path:
        return self.path / "lock"

    def make(self) -> None:
        """Makes the folder or checks that it is one of ours. Raises `HomeUnusable`."""
        found = self.state().get("version", VERSION)
        if found > VERSION:
            raise HomeUnusable(f"{self.path} was made by a newer Kirby (layout {found}, known: {VERSION})")
        if self.path.exists() and not self._is_ours():
            raise HomeUnusable(f"{self.path} holds something else; choose an empty folder: --home DIR")
        try:
            home_folder(self.path)
        except OSError as error:
            raise HomeUnusable(f"{self.path} can't be made: {error.strerror}; choose another: --home DIR") from error
        if os.geteuid() == 0 and (closed := _closed_ancestor(self.path)):
            raise HomeUnusable(
                f"as root the database runs under an account of its own, which can't enter {closed};"
                " choose another home, such as --home /var/lib/kirby"
            )
        private_folder(self.logs)
        self.lock_file.touch(mode=0o600)  # Marks the folder as ours, before anything runs in it.

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the home for this process. Raises `HomeInUse`."""
        with self.lock_file.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HomeInUse(self.path, pid=_pid_in(self.lock_file)) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def holder(self) -> int | None:
        """The process that holds the home now."""
        if not self.lock_file.exists():
            return None
        with self.lock_file.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _pid_in(self.lock_file)
        return None

    def state(self) -> dict[str, Any]:
        """What `kirby.json` says; empty when there is none."""
        try:
            read = json.loads(self.state_file.read_text())
        except FileNotFoundError:
            return {}
        except (ValueError, OSError) as error:
            raise HomeUnusable(f"{self.state_file} can't be read: {error}") from error
        return read if isinstance(read, dict) else {}

    def write_state(self, state: dict[str, Any]) -> None:
        write_private(self.state_file, json.dumps({"version": VERSION} | state, indent=1) + "\n")

    def secret(self, name: str) -> str:
        """A random secret of this home, made when first asked for."""
        known = self._recorded("secrets.json")
        if name not in known:
            known[name] = secrets.token_urlsafe(32)
            write_private(self.path / "secrets.json", json.dumps(known, indent=1))
        return str(known[name])

    def vault_key_file(self) -> Path:
        """The file with the vault's key: losing it means losing every secret, so it is never made anew."""
        path = self.path / "vault-key"
        if not path.exists():
            write_private(path, base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
        return path

    def port(self, name: str) -> int:
        """The recorded port of that name; another one when a stranger has taken it. Call it while holding the home."""
        known = self._recorded("ports.json")
        port = known.get(name)
        if port is None or not is_free(int(port)):
            known[name] = port = _unused(set(known.values()))
            write_private(self.path / "ports.json", json.dumps(known, indent=1))
        return int(port)

    def _recorded(self, file: str) -> dict[str, Any]:
        path = self.path / file
        read: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return read

    def _is_ours(self) -> bool:
        return self.lock_file.exists() or self.state_file.exists() or not any(self.path.iterdir())


def _unused(taken: set[int]) -> int:
    while (port := free_port()) in taken:
        pass
    return port


def _pid_in(file: Path) -> int:
    text = file.read_text().strip()
    return int(text) if text.isdigit() else 0


def _closed_ancestor(path: Path) -> Path | None:
    return next((folder for folder in reversed(path.parents) if folder.stat().st_mode & 0o001 == 0), None)
