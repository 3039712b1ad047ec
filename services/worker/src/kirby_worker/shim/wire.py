"""JSON lines over a stream socket, both ways, without ever blocking."""

import json
import socket
from collections import deque
from collections.abc import Iterator
from typing import Any

_READ = 65_536


class Lines:
    """One peer. `closed` once it has hung up."""

    def __init__(self, peer: socket.socket) -> None:
        peer.setblocking(False)
        self.socket = peer
        self.closed = False
        self._in = b""
        self._out = b""
        self._inbox: deque[bytes] = deque()

    def fileno(self) -> int:
        return self.socket.fileno()

    @property
    def wants_write(self) -> bool:
        return bool(self._out)

    def receive(self) -> Iterator[dict[str, Any]]:
        """The messages that have come in whole; those not taken are there the next time."""
        self._read()
        while self._inbox:
            line = self._inbox.popleft()
            if line.strip():
                yield json.loads(line)

    def _read(self) -> None:
        try:
            while True:
                data = self.socket.recv(_READ)
                if not data:
                    self.closed = True
                    break
                self._in += data
        except OSError as error:
            self.closed = not isinstance(error, BlockingIOError)
        *lines, self._in = self._in.split(b"\n")
        self._inbox.extend(lines)

    def send(self, message: dict[str, Any]) -> None:
        self._out += json.dumps(message).encode() + b"\n"
        self.push()

    def push(self) -> None:
        """Writes what the peer takes now."""
        while self._out and not self.closed:
            try:
                written = self.socket.send(self._out)
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
                return
            self._out = self._out[written:]

    def finish(self, *, within_s: float) -> None:
        """Writes the rest, waiting for a slow peer, and hangs up."""
        self.socket.settimeout(within_s)
        try:
            self.socket.sendall(self._out)
        except OSError:
            self.closed = True
        self.socket.close()
