"""`kirby adduser`, `kirby api --check`, `bootstrap` and `kirby web` as processes, as the user guide has them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import pytest
from kirby.dev.parts import free_port
from kirby_common.settings import KafkaSettings

from tests.eventually import eventually_sync

KIRBY = [sys.executable, "-m", "kirby.cli.main"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def variables(database: str, kafka_settings: KafkaSettings, redis_url: str) -> dict[str, str]:
    """The user guide's variables, on an empty database."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "SQLALCHEMY_DATABASE_URI": database,
        "SQLALCHEMY_TRACK_MODIFICATIONS": "False",
        "SECRET_KEY": "a secret key for tests only",
        "SECURITY_PASSWORD_SALT": "pepper for tests",
        "KAFKA_BOOTSTRAP_SERVERS": kafka_settings.kafka_bootstrap_servers,
        "REDIS_URL": redis_url,
    }


@pytest.fixture
def kirby(variables: dict[str, str]) -> Run:
    def run(*words: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        environment = variables | more
        return subprocess.run(
            [*KIRBY, *words], input=typed, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_adding_users_as_in_the_guide(kirby: Run) -> None:
    alice = kirby("adduser", "alice", typed="pw12345678\ny\n")
    assert (alice.returncode, alice.stdout) == (0, "User alice added with admin rights\n"), alice.stderr
    assert "Password:" in alice.stderr
    assert "Give admin rights? [y/N]" in alice.stderr
    bob = kirby("adduser", "bob", typed="pw12345678\nn\n")
    assert (bob.returncode, bob.stdout) == (0, "User bob added\n")
    again = kirby("adduser", "bob", typed="pw12345678\nn\n")
    assert (again.returncode, again.stdout) == (1, "")
    assert "User bob exists" in again.stderr
    weak = kirby("adduser", "carol", typed="pw\nn\n")
    assert (weak.returncode, "at least 8 characters" in weak.stderr) == (1, True)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"SQLALCHEMY_DATABASE_URI": "///kirby.db"}, "Kirby needs PostgreSQL; `make dev` starts one"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"KIRBY_LEASE": "soon"}, "KIRBY_LEASE"),
    ],
)
def test_a_wrong_setting_is_a_sentence(kirby: Run, changed: dict[str, str], says: str) -> None:
    for command in (["api", "--check"], ["web", "--check"], ["api", "--role", "ledger"]):
        ended = kirby(*command, **changed)
        assert (ended.returncode, says in ended.stderr, "Traceback" in ended.stderr) == (2, True, False), ended.stderr


def test_check_connects_to_nothing(kirby: Run) -> None:
    nowhere = {"SQLALCHEMY_DATABASE_URI": "postgres://a:b@127.0.0.1:1/x", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    for command in (["api", "--check"], ["api", "--role", "ledger", "--check"], ["web", "--check"]):
        ended = kirby(*command, **nowhere)
        assert (ended.returncode, ended.stdout) == (0, "ok\n"), ended.stderr


def test_bootstrap_hands_over_tokens(variables: dict[str, str]) -> None:
    reading, writing = os.pipe()
    command = [*KIRBY, "api", "bootstrap", "--fd", str(writing)]
    subprocess.run(command, env=variables, pass_fds=[writing], timeout=60, check=True)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        made = json.loads(pipe.read())
    assert made["token"].startswith("kirby_")
    assert made["login_token"].startswith("kirby_")


@contextmanager
def web(variables: dict[str, str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*KIRBY, "web", "--port", str(port)], env=variables)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ready(port: int) -> bool:
    return httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def gone(pids: list[int]) -> bool:
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_web_runs_both_roles_heals_them_and_leaves_none(variables: dict[str, str]) -> None:
    port = free_port()
    with web(variables, port) as process:
        eventually_sync(lambda: ready(port) and ready(port + 1), timeout=60)
        endpoints = httpx2.get(f"http://127.0.0.1:{port}/api/v1/endpoints").json()
        assert endpoints["ledger"] == f"http://127.0.0.1:{port + 1}"
        first = children(process.pid)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        eventually_sync(lambda: first[0] not in children(process.pid) and ready(port), timeout=30)
        second = children(process.pid)
        process.terminate()
        assert process.wait(30) == 0
        assert gone(second)


def test_the_roles_die_with_web(variables: dict[str, str]) -> None:
    port = free_port()
    with web(variables, port) as process:
        eventually_sync(lambda: ready(port), timeout=60)
        roles = children(process.pid)
        process.kill()
        eventually_sync(lambda: gone(roles), timeout=15)


def test_it_stops_while_it_waits_for_stores(variables: dict[str, str]) -> None:
    port = free_port()
    absent = variables | {"SQLALCHEMY_DATABASE_URI": "postgres://a:b@127.0.0.1:1/x"}
    process = subprocess.Popen([*KIRBY, "api", "--port", str(port)], env=absent)
    try:
        waiting = eventually_sync(lambda: httpx2.get(f"http://127.0.0.1:{port}/readyz"), timeout=30)
        assert waiting.status_code == 503
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
