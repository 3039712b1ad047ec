"""The private package index of a home: pypiserver, never falling back to a public index."""

import sys
from importlib.metadata import version
from pathlib import Path

from kirby.dev import probes
from kirby.dev.folders import private_folder, write_private
from kirby.dev.parts import Launch, base_environment

_SERVER = Path(__file__).with_name("index_server.py")


class IndexPart:
    """Anyone on this machine may download; uploads need the password, and a file once there is never replaced."""

    name = "index"
    username = "kirby"

    def __init__(self, folder: Path, *, port: int, password: str) -> None:
        self._folder = folder
        self._password = password
        self.port = port

    @property
    def url(self) -> str:
        """What pip, uv and twine's readers take as index."""
        return f"http://127.0.0.1:{self.port}/simple/"

    @property
    def upload_url(self) -> str:
        """What `twine upload` and `uv publish` take."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def packages(self) -> Path:
        return self._folder / "packages"

    def version(self) -> str:
        return version("pypiserver")

    def prepare(self) -> None:
        private_folder(self._folder)
        private_folder(self.packages)
        write_private(self._folder / "password", self._password)

    def launch(self) -> Launch:
        # -P: the modules beside the server are not to be taken for others of the same name.
        words = (self.port, self.packages, self._folder / "password")
        argv = (sys.executable, "-P", str(_SERVER), *map(str, words))
        return Launch(argv, env=base_environment(), stop_grace_s=2)

    def is_ready(self) -> bool:
        return probes.index(self.port)

    def finish(self) -> None:
        """Nothing is left to do."""
