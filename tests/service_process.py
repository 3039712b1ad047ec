"""A service as its own process, as a user starts it: `kirby vault`, `kirby notifier`, …"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from kirby.dev.parts import free_port
from kirby_common.database import connect
from sqlalchemy import text

from tests.eventually import eventually

KIRBY = Path(sys.executable).with_name("kirby")


class ServiceProcess:
    """One start of a service. What it writes to stdout and stderr is kept in `log`."""

    def __init__(self, *command: str, env: Mapping[str, str], folder: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = folder / f"{command[0]}-{self.port}-{len(list(folder.iterdir()))}.log"
        with self.log_file.open("wb") as out:
            self.process = subprocess.Popen(
                [KIRBY, *command, "--port", str(self.port)],
                env={"PATH": os.environ["PATH"], "HOME": str(folder), **env},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    async def ready(self, *, timeout: float = 20) -> None:
        """Returns once `/readyz` says so."""

        async def is_ready() -> bool:
            assert self.process.poll() is None, self.log
            return (await self.health("readyz")).status_code == 200

        await eventually(is_ready, timeout=timeout, what=f"{self.log_file.name} ready")

    async def health(self, what: str = "healthz") -> httpx2.Response:
        async with httpx2.AsyncClient() as client:
            return await client.get(f"{self.url}/{what}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Politely, so that consumer groups need not wait for it; by force after 5 s."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()

    async def terminate(self, *, timeout: float = 10) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        await eventually(lambda: self.process.poll() is not None, timeout=timeout, what="the service's end")
        return self.process.returncode


@contextmanager
def running(*command: str, env: Mapping[str, str], folder: Path, port: int | None = None) -> Iterator[ServiceProcess]:
    service = ServiceProcess(*command, env=env, folder=folder, port=port)
    try:
        yield service
    finally:
        service.stop()


def run_to_end(*command: str, env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """A command that ends by itself."""
    return subprocess.run(
        [KIRBY, *command],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def query(uri: str, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    """Rows from a database, from outside the service; a new connection each time."""
    engine = connect(uri, application="tests", pool_size=1)
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(sql), values)
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        await engine.dispose()
