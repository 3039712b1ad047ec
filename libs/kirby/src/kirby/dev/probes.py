"""Whether a server on this machine answers its own protocol: one small exchange each, without a client library."""

import struct
from collections.abc import Callable, Mapping

from kirby.dev.parts import exchange

Probe = Callable[[int], bool]


def redis(port: int) -> bool:
    return exchange(port, b"PING\r\n", size=5) == b"+PONG"


def kafka(port: int) -> bool:
    """Asks for the metadata: a broker names itself once it has joined its cluster."""
    correlation = 7
    body = struct.pack(">hhih", 3, 1, correlation, -1) + struct.pack(">i", 0)
    answer = exchange(port, struct.pack(">i", len(body)) + body, size=12)
    if len(answer) < 12:
        return False
    _, got, brokers = struct.unpack(">iii", answer)
    return bool(got == correlation and brokers > 0)


def postgres(port: int) -> bool:
    """Begins to log in, as `pg_isready` does: a server that still recovers refuses, a ready one asks for a password."""
    parameters = b"user\0kirby\0database\0kirby\0\0"
    startup = struct.pack(">ii", 8 + len(parameters), 196608) + parameters
    # The whole answer is read, 24 bytes: a connection reset in between would be logged.
    return exchange(port, startup, size=24).startswith(b"R")


def index(port: int) -> bool:
    return _answers_200(port, "/health")


def service(port: int) -> bool:
    return _answers_200(port, "/readyz")


def _answers_200(port: int, path: str) -> bool:
    request = f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    return exchange(port, request, size=12).endswith(b" 200")


STORES: Mapping[str, Probe] = {"redis": redis, "kafka": kafka, "postgres": postgres, "index": index}
"""By the name of the part; everything else is a service."""
