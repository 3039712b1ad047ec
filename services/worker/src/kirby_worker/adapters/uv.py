"""uv as a subprocess: makes venvs, installs locks into them, resolves versions to locks."""

import asyncio
import os
import platform
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit, urlunsplit

import uv

from kirby_worker.domain.package_errors import explain

_PASSED = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
           "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy", "TMPDIR")  # fmt: skip
_INDEX_NAME = "kirby"
NO_PUBLIC_INDEX = "none"


@dataclass(frozen=True)
class Index:
    """Where packages come from: the private index first; a name that it has is never looked up in the public one."""

    private_url: str | None = None
    username: str | None = None
    password: str | None = None
    public_url: str | None = None

    @classmethod
    def of(cls, *, private_url: str | None, username: str | None, password: str | None, public_url: str | None) -> Self:
        """Takes credentials out of the URL, so that they never become an argument."""
        parts = urlsplit(private_url or "")
        if parts.username is not None:
            username, password = username or unquote(parts.username), password or unquote(parts.password or "")
            private_url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        return cls(private_url or None, username, password, public_url)

    def arguments(self) -> list[str]:
        arguments: list[str] = ["--index-strategy", "first-index"]
        if self.private_url:
            name = "--default-index" if self.public_url == NO_PUBLIC_INDEX else "--index"
            arguments += [name, f"{_INDEX_NAME}={self.private_url}"]
        if self.public_url not in (None, NO_PUBLIC_INDEX):
            arguments += ["--default-index", self.public_url]
        return arguments

    def environment(self) -> dict[str, str]:
        """Credentials go by environment, never by argument."""
        found = {}
        if self.username:
            found[f"UV_INDEX_{_INDEX_NAME.upper()}_USERNAME"] = self.username
        if self.password:
            found[f"UV_INDEX_{_INDEX_NAME.upper()}_PASSWORD"] = self.password
        return found


def interpreter_version() -> str:
    return platform.python_version()


def platform_tag() -> str:
    """What a venv depends on besides the lock and the interpreter's version."""
    libc = "-".join(platform.libc_ver())
    return f"{sysconfig.get_platform()}-{libc}"


class Uv:
    """Runs uv for this process's interpreter. Errors are `PackageError`s with one sentence."""

    def __init__(self, index: Index, *, cache: Path | None, environ: Mapping[str, str]) -> None:
        self._index = index
        passed = {n: v for n, v in environ.items() if n in _PASSED or n.startswith("UV_")}
        self._environment = {"UV_HTTP_RETRIES": "1", "UV_HTTP_TIMEOUT": "30"} | passed | index.environment()
        self._environment |= {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
        if cache is not None:
            self._environment["UV_CACHE_DIR"] = str(cache)
        self._binary = os.fsdecode(uv.find_uv_bin())
        self._children: set[int] = set()

    @property
    def pids(self) -> frozenset[int]:
        """The uv processes under way."""
        return frozenset(self._children)

    async def make_venv(self, path: Path, *, package: str) -> None:
        """An empty venv of this interpreter, which may be moved."""
        await self._run("venv", "--relocatable", "--no-project", "--python", sys.executable, str(path), package=package)

    async def install(self, venv: Path, lock: Path, *, package: str) -> None:
        """Installs exactly what the lock says, linked from the cache."""
        await self._run(
            "pip", "install", "--require-hashes", "--no-deps", "--python", str(venv / "bin" / "python"),
            "-r", str(lock), *self._index.arguments(), package=package,
        )  # fmt: skip

    async def resolve(self, requirement: str) -> str:
        """A lock with hashes for `name==version` and all it needs."""
        return await self._run(
            "pip", "compile", "-", "--generate-hashes", "--no-header", "--no-annotate", "--quiet",
            "--python", sys.executable, *self._index.arguments(),
            package=requirement, stdin=requirement,
        )  # fmt: skip

    async def _run(self, *arguments: str, package: str, stdin: str = "") -> str:
        # A file, not a pipe: a process that ends before it has read its input would break a pipe.
        with tempfile.TemporaryFile() as source:
            source.write(stdin.encode())
            source.seek(0)
            process = await asyncio.create_subprocess_exec(
                self._binary, *arguments, "--no-config",
                stdin=source, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env=self._environment, cwd="/",
            )  # fmt: skip
        self._children.add(process.pid)
        try:
            out, errors = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        finally:
            self._children.discard(process.pid)
        if process.returncode != 0:
            raise explain(errors.decode(errors="replace"), package=package, python=interpreter_version())
        return out.decode()
