"""The wheels: what a user gets from an index, in environments that hold nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen
from zipfile import ZipFile

import pytest
from kirby.dev.parts import base_environment, free_port

from tests.eventually import eventually_sync

_ROOT = Path(__file__).parents[2]
_NOWHERE = {
    "SQLALCHEMY_DATABASE_URI": "postgresql://kirby:pw@127.0.0.1:1/kirby",
    "REDIS_URL": "redis://127.0.0.1:1",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "SECRET_KEY": "a-secret-key-of-the-tests",
    "SECURITY_PASSWORD_SALT": "a-salt-of-the-tests",
    "KIRBY_URL": "http://127.0.0.1:1",
    "KIRBY_WORKER_TOKEN": "a-token-of-the-tests",
}
_COMMANDS = {
    "api": ["api", "--role", "web"],
    "ledger": ["api", "--role", "ledger"],
    "scheduler": ["scheduler"],
    "worker": ["worker", "w1"],
    "vault": ["vault"],
    "notifier": ["notifier"],
}


@dataclass(frozen=True)
class Environment:
    """An empty virtual environment with some of the wheels."""

    path: Path

    def run(self, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        argv = [str(self.path / "bin" / "kirby"), *words]
        return subprocess.run(argv, env=env or {}, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheels, built as `make dist` does."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([_ROOT / "tools" / "build-wheels", str(folder)], check=True, capture_output=True, text=True)
    return folder


@pytest.fixture(scope="session")
def install(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Environment]:
    uv = str(Path(sys.executable).with_name("uv"))

    def install(name: str, *requirements: str) -> Environment:
        path = tmp_path_factory.mktemp("venvs") / name
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(path)], check=True)
        options = ["--find-links", str(wheels), "--constraint", str(_ROOT / "requirements.lock")]
        done = subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", str(path / "bin" / "python"), *options, *requirements],
            env=base_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Environment(path)

    return install


def test_the_page_comes_with_the_api(wheels: Path) -> None:
    with ZipFile(next(wheels.glob("kirby_api-*.whl"))) as wheel:
        assert {"kirby_api/static/index.html", "kirby_api/demo/demo.json"} <= set(wheel.namelist())


def test_the_server_from_wheels(install: Callable[..., Environment]) -> None:
    server = install("server", "kirby[server]")
    assert server.run("--version").stdout.startswith("kirby ")
    shown = server.run("web", "--check", env=_NOWHERE)
    assert (shown.stdout, shown.returncode) == ("ok\n", 0), shown.stderr
    missing = server.run("dev", "--home", "/nonexistent")
    assert missing.returncode == 2
    assert "pip install 'kirby[dev]'" in missing.stderr


def test_the_script_library_alone_names_what_is_missing(install: Callable[..., Environment]) -> None:
    alone = install("alone", "kirby")
    shown = alone.run("web")
    assert (shown.returncode, shown.stderr) == (2, "kirby web needs the server: pip install 'kirby[server]'\n")
    imported = subprocess.run([alone.path / "bin" / "python", "-c", "import kirby"], check=False)
    assert imported.returncode == 0


@pytest.mark.parametrize("service", ["api", "scheduler", "worker", "vault", "notifier"])
def test_m9_each_service_alone_checks_itself_and_answers(
    service: str, install: Callable[..., Environment], tmp_path: Path
) -> None:
    environment = install(service, f"kirby-{service}")
    env = _NOWHERE | _with_key(tmp_path) | {"KIRBY_WORKER_HOME": str(tmp_path / "work"), "PATH": os.environ["PATH"]}
    for name, words in _COMMANDS.items():
        if name == service or words[0] == service:
            checked = environment.run(*words, "--check", env=env)
            assert (checked.stdout, checked.returncode) == ("ok\n", 0), checked.stderr
            with _running(environment, words, env=env, log=tmp_path / "log") as port:
                # Its stores are absent: it is alive, waits for them, and says so.
                eventually_sync(partial(_alive, port), timeout=30)
                status, said = _get(port, "/readyz")
                assert (status, said["status"]) == (503, "waiting")
                assert said["problems"]


def _with_key(folder: Path) -> dict[str, str]:
    key = folder / "vault-key"
    key.write_text("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
    key.chmod(0o600)
    return {"KIRBY_VAULT_KEY_FILE": str(key)}


@contextmanager
def _running(environment: Environment, words: list[str], *, env: dict[str, str], log: Path) -> Iterator[int]:
    port = free_port()
    with log.open("w") as output:
        argv = [str(environment.path / "bin" / "kirby"), *words, "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(argv, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield port
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        try:
            process.wait(15)
        finally:
            process.kill()
            process.wait()


def _alive(port: int) -> bool:
    return _get(port, "/healthz")[0] == 200


def _get(port: int, path: str) -> tuple[int, dict[str, object]]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)
