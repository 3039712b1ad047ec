"""What a part of `kirby dev` is: something prepared once, then run as a process and probed until it is ready."""

import os
import re
import secrets
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Protocol


class PartFailed(RuntimeError):
    """A part can't be prepared or started; the message is a sentence for the user."""


@dataclass(frozen=True)
class Launch:
    """How to run a part's process. `env` is the whole environment; `user` an account to drop to."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    user: str | None = None
    stop_signal: Signals = SIGTERM
    stop_grace_s: float = 10.0
    orphan_signal: Signals | None = None
    """What the kernel sends when the parent dies; by default KILL."""
    pass_fds: tuple[int, ...] = ()
    handed_fds: tuple[int, ...] = ()
    """Passed on, too, and closed on our side once the process has them."""


class Part(Protocol):
    """One server. Called in this order: `prepare`, `launch`, then `is_ready` until True; `finish` after its end."""

    name: str
    port: int

    def version(self) -> str:
        """The version of the server itself; may be called before `prepare`."""
        ...

    def prepare(self) -> None:
        """Makes the folder and what has to exist before the first start. Repeatable, blocks; raises `PartFailed`."""
        ...

    def launch(self) -> Launch:
        """The process to start; called anew for each start."""
        ...

    def is_ready(self) -> bool:
        """Whether it answers its protocol; returns within a second and never raises."""
        ...

    def finish(self) -> None:
        """Called after the process ended in an orderly way."""
        ...


_KEPT = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "REQUESTS_CA_BUNDLE")
_KEPT_PREFIXES = (
    "SSL_CERT_",
    "UV_",
    "XDG_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
_FIRST_PORT = 10_000
_OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def base_environment() -> dict[str, str]:
    """What a server needs of our environment, and no more; it trusts the certificates that the machine trusts."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    trusted = {"UV_SYSTEM_CERTS": "true", "REQUESTS_CA_BUNDLE": str(_CERTIFICATES)} if _CERTIFICATES.exists() else {}
    return trusted | kept | {"LC_ALL": "C.UTF-8"}


def free_port() -> int:
    """A TCP port that is free on the loopback now, below those that the kernel gives to outgoing connections.

    One from among those could be some connection's own by the time it is wanted, or when a home starts again.
    """
    below = _first_outgoing_port()
    return next(port for port in iter(lambda: secrets.choice(range(_FIRST_PORT, below)), None) if is_free(port))


def _first_outgoing_port() -> int:
    try:
        found = int(_OUTGOING_PORTS.read_text().split()[0])
    except (OSError, ValueError):
        found = 32768
    return found if found > _FIRST_PORT + 1000 else 65536


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def exchange(port: int, request: bytes, *, size: int, timeout_s: float = 1.0) -> bytes:
    """Sends bytes to a loopback port and returns the first bytes of the answer; empty when there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
            connection.sendall(request)
            answer = b""
            while len(answer) < size:
                got = connection.recv(size - len(answer))
                if not got:
                    break
                answer += got
            return answer
    except OSError:
        return b""


@cache
def version_of(binary: str | Path) -> str:
    """The first number with dots that `BINARY --version` prints."""
    out = subprocess.run([str(binary), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+\.\d+(\.\d+)?", out)
    return found.group(0) if found else "unknown"
