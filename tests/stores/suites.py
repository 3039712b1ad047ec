"""A whole running suite for end-to-end tests."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_KIRBY = str(Path(sys.executable).with_name("kirby"))
_OURS = ("KIRBY_", "KAFKA_", "SQLALCHEMY_", "REDIS_URL", "SECRET_KEY", "SECURITY_")


class RunningSuite:
    """A `kirby dev --detach` in a home of its own. `kirby(…)` runs a command against it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def recorded(self) -> dict[str, Any]:
        """`kirby.json`, as it is now."""
        read: dict[str, Any] = json.loads((self.home / "kirby.json").read_text())
        return read

    @property
    def url(self) -> str:
        return str(self.recorded["url"])

    @property
    def token(self) -> str:
        """An admin's API token."""
        return str(self.recorded["token"])

    @property
    def env(self) -> dict[str, str]:
        """What the services were told; contains secrets."""
        return dict(self.recorded["env"])

    def kirby(
        self,
        *words: str,
        check: bool = True,
        input: str | None = None,
        timeout: float = 120,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `kirby WORDS` against this suite; fails the test on a non-zero exit unless `check=False`."""
        done = subprocess.run(
            [_KIRBY, *words],
            env=clean_environment() | {"KIRBY_HOME": str(self.home)} | dict(env or {}),
            input=input,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            cwd=cwd,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kirby {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *words: str) -> Any:
        """The parsed output of `kirby WORDS -o json`."""
        return json.loads(self.kirby(*words, "-o", "json").stdout)

    def part(self, name: str) -> dict[str, Any]:
        """One part as `kirby dev status` sees it: name, version, pid, port, ready."""
        done = self.kirby("dev", "status", "-o", "json", check=False)
        found: dict[str, Any] = next(part for part in json.loads(done.stdout)["parts"] if part["name"] == name)
        return found

    def start(self, *options: str, env: Mapping[str, str] | None = None) -> str:
        """Starts it in the background; what it printed."""
        return self.kirby("dev", "--detach", *options, timeout=300, env=env).stdout

    def logs(self, *, count: int = 30) -> str:
        """The ends of all logs, to say what went wrong."""
        found = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"== {log.stem}\n" + "\n".join(log.read_text().splitlines()[-count:]) for log in found)


def clean_environment() -> dict[str, str]:
    """Ours without the variables that name another suite or store."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


@contextmanager
def new_home() -> Iterator[RunningSuite]:
    """A home where nothing runs yet; stopped and deleted at the end."""
    # Not below pytest's own folders: as root the database runs as somebody else, who can't enter those.
    home = Path(tempfile.mkdtemp(prefix="kirby-suite-"))
    suite = RunningSuite(home)
    try:
        yield suite
    finally:
        suite.kirby("dev", "stop", check=False)
        if "KIRBY_KEEP_TEST_STORES" not in os.environ:
            shutil.rmtree(home, ignore_errors=True)
