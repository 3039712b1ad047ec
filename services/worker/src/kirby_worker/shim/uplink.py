"""The connection to whichever worker looks after this run now."""

import selectors
import socket
from collections.abc import Callable
from typing import Any

from kirby_worker.shim.wire import Lines


class Uplink:
    """At most one worker at a time; a new connection takes the old one's place."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        *,
        first: Lines,
        on_message: Callable[[dict[str, Any]], None],
        on_connected: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._selector = selector
        self._worker: Lines | None = first
        self._on_message = on_message
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._listener = _listen()
        selector.register(self._listener, selectors.EVENT_READ, self._accept)
        selector.register(first.socket, selectors.EVENT_READ, self.receive)

    @property
    def congested(self) -> bool:
        return self._worker is not None and self._worker.wants_write

    @property
    def connected(self) -> bool:
        return self._worker is not None

    def tell(self, message: dict[str, Any]) -> None:
        """Goes to the worker if there is one; what must not be lost is in the journal."""
        if self._worker is not None:
            self._worker.send(message)

    def push(self) -> None:
        if self._worker is not None:
            self._worker.push()

    def finish(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            self._selector.unregister(worker.socket)
            worker.finish(within_s=1.0)

    def _accept(self) -> None:
        peer, _ = self._listener.accept()
        self._drop()
        self._worker = Lines(peer)
        self._selector.register(peer, selectors.EVENT_READ, self.receive)
        self._on_connected()

    def receive(self) -> None:
        """Takes what has come in."""
        worker = self._worker
        if worker is None:
            return
        for message in worker.receive():
            self._on_message(message)
        if worker.closed and worker is self._worker:
            self._drop()
            self._on_lost()

    def _drop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            self._selector.unregister(worker.socket)
            worker.socket.close()


def _listen() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("sock")
    listener.listen(4)
    listener.setblocking(False)
    return listener
