"""The servers of one pytest session: made in a folder of their own, started side by side, all ended with it."""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from kirby.dev.folders import home_folder, private_folder
from kirby.dev.index import IndexPart
from kirby.dev.kafka import KafkaPart
from kirby.dev.parts import Part, free_port
from kirby.dev.postgres import PostgresPart
from kirby.dev.processes import Running, start_together, stop_all
from kirby.dev.redis import RedisPart

INDEX_PASSWORD = "index-test-password"
# What a test writes need not outlive the machine.
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Stores:
    def __init__(self) -> None:
        # Not below pytest's own folders: as root the database runs as somebody else, who can't enter those.
        self._home = home_folder(Path(tempfile.mkdtemp(prefix="kirby-stores-")))
        self._running: list[Running] = []
        self.kafka = KafkaPart(self._home / "kafka", port=free_port(), controller_port=free_port(), heap_mb=768)
        self.postgres = PostgresPart(self._home / "postgres", port=free_port(), password="pg-test", extra=_FAST)
        self.redis = RedisPart(self._home / "redis", port=free_port())
        self.index = IndexPart(self._home / "index", port=free_port(), password=INDEX_PASSWORD)

    def start(self, names: Iterable[str]) -> None:
        """Starts the named ones that don't run yet."""
        parts: list[Part] = [self.kafka, self.postgres, self.redis, self.index]
        up = {one.part.name for one in self._running}
        wanted = [part for part in parts if part.name in set(names) - up]
        self._running += start_together(wanted, logs=private_folder(self._home / "logs"))

    def stop(self) -> None:
        stop_all(self._running)
        if "KIRBY_KEEP_TEST_STORES" not in os.environ:
            shutil.rmtree(self._home, ignore_errors=True)
