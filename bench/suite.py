"""A suite of its own for the measurements: started by `kirby dev`, asked by REST and by the command."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx2

ROOT = Path(__file__).parents[1]
KIRBY = Path(sys.executable).with_name("kirby")


class NotInTime(RuntimeError):
    """Something that was waited for did not come."""


@dataclass(frozen=True)
class Suite:
    home: Path
    url: str
    token: str

    def kirby(self, *args: str, check: bool = True) -> str:
        done = subprocess.run(
            [str(KIRBY), *args, "--home", str(self.home)],
            capture_output=True,
            text=True,
            timeout=300,
            env=clean_environment(),
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"kirby {' '.join(args)}: {done.stderr or done.stdout}")
        return done.stdout

    def client(self) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx2.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=120)

    def parts(self) -> dict[str, dict[str, Any]]:
        status = json.loads(self.kirby("dev", "status", "-o", "json", check=False))
        return {part["name"]: part for part in status["parts"]}

    def deploy(self, script: str, *, job: str, env: str = "bench", options: tuple[str, ...] = ()) -> None:
        """Deploys a script given as text, as job `job`, and waits until it can run."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{job.replace('-', '_')}.py"
            file.write_text(script)
            self.kirby("deploy", str(file), "--job", job, "--env", env, *options)
        wait_for(lambda: self.context(job, env=env)["state"] == "enabled", what=f"{job} enabled")

    def context(self, job: str, *, env: str = "bench") -> dict[str, Any]:
        with self.client() as client:
            return cast(dict[str, Any], client.get(f"/contexts/{job}@{env}").raise_for_status().json())

    def trigger(self, job: str, *, env: str = "bench", wait_s: int | None = None) -> dict[str, Any]:
        with self.client() as client:
            query: Mapping[str, str] = {} if wait_s is None else {"wait": str(wait_s)}
            answer = client.post("/runs", params=query, json={"job": job, "env": env})
            return cast(dict[str, Any], answer.raise_for_status().json())

    def runs(self, job: str, *, status: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
        """The job's runs, the newest first."""
        query = {"job": job, "limit": str(limit)} | ({} if status is None else {"status": status})
        with self.client() as client:
            items: list[dict[str, Any]] = client.get("/runs", params=query).raise_for_status().json()["items"]
        return items

    def pause(self, job: str) -> None:
        with self.client() as client:
            change = {"paused": True, "pause_reason": "measured"}
            client.patch(f"/contexts/{job}@bench", json=change).raise_for_status()

    def status(self, run_id: str) -> str:
        with self.client() as client:
            return str(client.get(f"/runs/{run_id}").raise_for_status().json()["status"])

    def lines(self, run_id: str) -> list[str]:
        """A run's lines once they are all recorded."""
        with self.client() as client:
            wait_for(
                lambda: (client.get(f"/runs/{run_id}").json()["log"] or {}).get("complete"),
                what=f"the log of {run_id}",
                timeout_s=60,
            )
            return client.get(f"/runs/{run_id}/logs", params={"format": "text"}).raise_for_status().text.splitlines()

    def stop(self) -> None:
        self.kirby("dev", "stop")


def wait_for(predicate: Any, *, what: str, timeout_s: float = 120, every_s: float = 0.02) -> Any:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = predicate()
        if value:
            return value
        time.sleep(every_s)
    raise NotInTime(f"{what}: not within {timeout_s:g} s")


def home_folder() -> Path:
    """A folder that also the database's own user can enter, when we are root."""
    folder = Path(tempfile.mkdtemp(prefix="kirby-bench-", dir="/var/tmp"))
    folder.chmod(0o711)
    return folder / "home"


def start(home: Path, *, env: Mapping[str, str], options: Sequence[str]) -> Suite:
    command = [str(KIRBY), "dev", "--detach", "--no-demo", "--home", str(home), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**clean_environment(), **env})
    return running(home)


def running(home: Path) -> Suite:
    state = json.loads((home / "kirby.json").read_text())
    return Suite(home, state["url"], state["token"])


@contextmanager
def new_suite(*, env: Mapping[str, str] | None = None, options: Sequence[str] = ()) -> Iterator[Suite]:
    """A started suite without the demo, whose services get `env` besides; stopped and removed at the end."""
    suite = start(home_folder(), env=env or {}, options=options)
    try:
        yield suite
    finally:
        suite.stop()
        shutil.rmtree(suite.home.parent, ignore_errors=True)


def clean_environment() -> dict[str, str]:
    """Ours, without what would point to another suite or another Kafka."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("KIRBY_", "KAFKA_"))}
