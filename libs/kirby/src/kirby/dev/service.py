"""Kirby's own services as parts: `kirby <command>`, ready when `/readyz` says so."""

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kirby.dev import probes
from kirby.dev.parts import Launch

Extra = Callable[[], tuple[tuple[str, ...], tuple[int, ...]]]
"""Words for the command line and file descriptors to hand over, made anew for each start."""


class ServicePart:
    def __init__(
        self,
        name: str,
        *,
        command: tuple[str, ...],
        distribution: str,
        port: int,
        env: Mapping[str, str],
        folder: Path,
        extra: Extra | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        self.name = name
        self.port = port
        self._command = command
        self._distribution = distribution
        self._env = env
        self._folder = folder
        self._extra = extra
        self._pass_fds = pass_fds

    def version(self) -> str:
        try:
            return version(self._distribution)
        except PackageNotFoundError:
            return "not installed"

    def prepare(self) -> None:
        """Services see to themselves."""

    def launch(self) -> Launch:
        words, fds = self._extra() if self._extra else ((), ())
        address = ("--host", "127.0.0.1", "--port", str(self.port))
        argv = (sys.executable, "-P", "-m", "kirby.cli.main", *self._command, *address, *words)
        return Launch(argv, env=self._env, cwd=self._folder, pass_fds=self._pass_fds, handed_fds=fds)

    def is_ready(self) -> bool:
        return probes.service(self.port)

    def finish(self) -> None:
        """Nothing is left to do."""
