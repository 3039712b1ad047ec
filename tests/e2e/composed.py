"""What deploy/compose.yaml would start, started without containers: its commands, variables and health checks, with the
addresses of real servers of this machine put in place of the containers' names.
"""

import base64
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kirby.dev.parts import base_environment, free_port

from tests.e2e.compose_file import KIRBY_SERVICES, load_compose
from tests.eventually import eventually_sync

BIN = Path(sys.executable).parent
SECRETS = {"POSTGRES_PASSWORD": "pw", "SECRET_KEY": "k" * 32, "SECURITY_PASSWORD_SALT": "s" * 32}
HTTP_PORTS = {"api": 8080, "ledger": 8081, "vault": 8082, "notifier": 8083, "scheduler": 8084, "worker": 8085}


@dataclass
class Composed:
    """The services by name, each a process; `folder` stands for the volumes."""

    folder: Path
    kafka: str
    database: str
    redis: str
    public_url: str
    compose: dict[str, Any] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.compose = load_compose(SECRETS | {"KIRBY_PUBLIC_URL": self.public_url})
        self.ports = {name: free_port() for name in (*HTTP_PORTS, "index")}
        for name in ("packages", "wheels", "enrol", "home", "logs"):
            (self.folder / name).mkdir()
        key = base64.b64encode(os.urandom(32))
        (self.folder / "vault_key").write_bytes(key + b"\n")
        (self.folder / "vault_key").chmod(0o600)

    def here(self, text: str) -> str:
        """A text of the compose file with this machine's addresses and folders."""
        known = {
            "postgresql://kirby:pw@postgres:5432/kirby": self.database,
            "kafka:9092": self.kafka,
            "redis://redis:6379": self.redis.rstrip("/"),
            "/run/secrets/vault_key": str(self.folder / "vault_key"),
            "/run/enrol": str(self.folder / "enrol"),
            "/var/lib/kirby": str(self.folder / "home"),
            "/data/packages": str(self.folder / "packages"),
            "/opt/kirby/wheels": str(self.folder / "wheels"),
            "0.0.0.0": "127.0.0.1",
            "index:8080": f"127.0.0.1:{self.ports['index']}",
        }
        known |= {f"{name}:{port}": f"127.0.0.1:{self.ports[name]}" for name, port in HTTP_PORTS.items()}
        for theirs, ours in known.items():
            text = text.replace(theirs, ours)
        return text

    def own(self, name: str, text: str) -> str:
        """As `here`, with the service's own port."""
        port = HTTP_PORTS.get(name, 8080)
        return re.sub(rf"\b{port}\b", str(self.ports[name]), self.here(text))

    def environment(self, name: str) -> dict[str, str]:
        given = {key: self.here(value) for key, value in self.compose["services"][name].get("environment", {}).items()}
        home = {"HOME": str(self.folder / "home"), "PATH": f"{BIN}:{os.environ['PATH']}"}
        return base_environment() | home | given

    def start(self, name: str) -> None:
        service = self.compose["services"][name]
        entrypoint = service.get("entrypoint", ["pypi-server" if name == "index" else "kirby"])
        command = [self.own(name, word) for word in service["command"]]
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*entrypoint, *command], env=self.environment(name), cwd=self.folder, stdout=log, stderr=log
            )

    def is_healthy(self, name: str) -> bool:
        """Whether the compose file's own health check of the service succeeds."""
        ended = self.processes[name].poll()
        assert ended is None, f"{name} ended with {ended}: {self.log(name)[-2000:]}"
        _, *check = (self.own(name, word) for word in self.compose["services"][name]["healthcheck"]["test"])
        return subprocess.run(check, env=self.environment(name), capture_output=True, timeout=20).returncode == 0

    def start_all(self) -> None:
        """In the order of `depends_on`, each once those that it waits for are healthy."""
        waiting = ["index", *KIRBY_SERVICES]
        while waiting:
            name = next(n for n in waiting if not set(self._needs(n)) & set(waiting))
            for needed in self._needs(name):
                self.await_healthy(needed)
            self.start(name)
            waiting.remove(name)

    def await_healthy(self, name: str) -> None:
        try:
            eventually_sync(lambda: self.is_healthy(name), timeout=60, every=0.2, what=f"{name} healthy")
        except AssertionError as error:
            raise AssertionError(f"{error}; its log ends with\n{self.log(name)[-3000:]}") from None

    def log(self, name: str) -> str:
        return (self.folder / "logs" / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def api_token(self) -> str:
        """A token as `kirby dev` gets it: written to a pipe, shown to nobody."""
        reader, writer = os.pipe()
        command = [str(BIN / "kirby"), "api", "bootstrap", "--fd", str(writer)]
        subprocess.run(command, env=self.environment("api"), pass_fds=(writer,), check=True, timeout=60)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            return str(json.loads(pipe.readline())["token"])

    def _needs(self, name: str) -> list[str]:
        """The Kirby services and the index that it waits for; the stores run already."""
        return [n for n in self.compose["services"][name].get("depends_on", {}) if n in (*KIRBY_SERVICES, "index")]
