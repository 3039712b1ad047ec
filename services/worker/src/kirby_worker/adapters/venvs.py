"""Content-addressed venvs: one for each lock, interpreter and platform; built aside, renamed into place."""

import asyncio
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from uuid import UUID, uuid4

import structlog
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from kirby_worker.adapters.uv import Uv, interpreter_version, platform_tag
from kirby_worker.domain.entry import Installed
from kirby_worker.domain.package_errors import PackageError

log = structlog.get_logger()

_MARKER = ".kirby-venv"
_BUILDS_AT_ONCE = 2


@dataclass(frozen=True)
class Venv:
    path: Path

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def site(self) -> Path:
        return next((self.path / "lib").glob("python3*")) / "site-packages"

    def installed(self, name: str) -> Installed:
        """What the named distribution brought into the venv. Raises `PackageError`."""
        return _installed(self, name)

    def runs_code_early(self) -> bool:
        """Whether something that is installed has itself called at every start of the venv's python."""
        return _runs_code_early(self.site)

    def requires_python(self, name: str) -> str | None:
        """What the named distribution says of the interpreter."""
        found: list[str] = self.distribution(name).metadata.get_all("Requires-Python") or []
        return found[0] if found else None

    def distribution(self, name: str) -> Distribution:
        wanted = _normal(name)
        for found in distributions(path=[str(self.site)]):
            if _normal(found.name) == wanted:
                return found
        raise PackageError(f"{name} is not among what its lock installs")


# A venv does not change once it stands, and to read through all that is installed takes long.


@lru_cache(maxsize=512)
def _installed(venv: Venv, name: str) -> Installed:
    found = venv.distribution(name)
    scripts = {e.name: e.value for e in found.entry_points if e.group == "console_scripts"}
    return Installed(found.name, scripts, frozenset(str(f) for f in found.files or ()))


@lru_cache(maxsize=512)
def _runs_code_early(site: Path) -> bool:
    if any(found for name in ("sitecustomize", "usercustomize") for found in site.glob(f"{name}*")):
        return True
    lines = (line for file in site.glob("*.pth") for line in file.read_text(errors="replace").splitlines())
    return any(line.startswith(("import ", "import\t")) for line in lines)


class Venvs:
    """Implements the port `Venvs`. The folder belongs to one worker at a time."""

    def __init__(self, folder: Path, *, uv: Uv, readable_by_all: bool, on_gone: Callable[[Path], None]) -> None:
        self._folder = folder
        self._on_gone = on_gone
        self._uv = uv
        self._mode = 0o755 if readable_by_all else 0o711
        self._locks: dict[str, asyncio.Lock] = {}
        self._builds = asyncio.Semaphore(_BUILDS_AT_ONCE)
        self._by_lock_id: dict[UUID, str] = {}

    def clear_leftovers(self) -> None:
        """Removes builds that a crash cut short."""
        for path in self._folder.glob(".building-*"):
            shutil.rmtree(path, ignore_errors=True)

    def ready(self) -> list[UUID]:
        """The lock ids whose venv stands."""
        return [lock_id for lock_id, key in self._by_lock_id.items() if (self._folder / key / _MARKER).exists()]

    async def provide(
        self, lock_text: str, *, package: str, lock_id: UUID | None = None, requires_python: str | None = None
    ) -> Venv:
        """The venv of the lock, built if there is none. Raises `PackageError`."""
        _check_python(requires_python, package)
        key = venv_key(lock_text)
        path = self._folder / key
        async with self._locks.setdefault(key, asyncio.Lock()):
            if not (path / _MARKER).exists():
                async with self._builds:
                    await self._build(path, lock_text, package)
        if lock_id is not None:
            self._by_lock_id[lock_id] = key
        os.utime(path / _MARKER)
        return Venv(path)

    async def _build(self, path: Path, lock_text: str, package: str) -> None:
        began = time.monotonic()
        draft = self._folder / f".building-{path.name[:16]}-{uuid4().hex[:8]}"
        try:
            await self._uv.make_venv(draft, package=package)
            lock = draft / "kirby.lock"
            lock.write_text(lock_text)
            await self._uv.install(draft, lock, package=package)
            draft.chmod(self._mode)
            (draft / _MARKER).write_text(json.dumps({"package": package, "python": interpreter_version()}))
            self._forget(path)
            shutil.rmtree(path, ignore_errors=True)
            draft.rename(path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        log.info("venv.built", package=package, key=path.name[:16], seconds=round(time.monotonic() - began, 2))

    def _forget(self, path: Path) -> None:
        """What is known of the venv at this place, and what waits in it."""
        self._on_gone(path)
        _installed.cache_clear()
        _runs_code_early.cache_clear()

    async def collect(self, *, unused_for: timedelta, in_use: Iterable[Path]) -> int:
        """Removes the venvs that nobody has used for so long; returns how many."""
        kept = {p.name for p in in_use}
        removed = 0
        for path in self._folder.iterdir():
            marker = path / _MARKER
            if path.name in kept or path.name.startswith(".") or not marker.exists():
                continue
            async with self._locks.setdefault(path.name, asyncio.Lock()):
                if marker.stat().st_mtime + unused_for.total_seconds() < time.time():
                    marker.unlink()
                    self._forget(path)
                    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
                    removed += 1
        return removed


def venv_key(lock_text: str) -> str:
    """The venv's address: what is installed, by which interpreter, for which platform."""
    parts = "\0".join((lock_text, interpreter_version(), platform_tag()))
    return hashlib.sha256(parts.encode()).hexdigest()


def _check_python(requires_python: str | None, package: str) -> None:
    if not requires_python:
        return
    try:
        fits = SpecifierSet(requires_python).contains(interpreter_version(), prereleases=True)
    except InvalidSpecifier:
        return  # The installer reads it its own way, and says so.
    if not fits:
        raise PackageError(f"{package} needs Python {requires_python}, this worker has {interpreter_version()}")


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
