"""The process's one sender: takes messages at once, delivers them in the background, remembers what failed."""

import atexit
import logging
import os
import sys
import threading
from contextlib import suppress
from time import monotonic

from kirby import transport
from kirby._logging import tell
from kirby.errors import KafkaUnavailable, NotDelivered
from kirby.transport import BufferFull, Headers, Sender

_EXIT_FLUSH_S = 60.0
# Asking for failures takes a fifth of the time of a send: not at each one of a flood.
_SERVE_EVERY = 200
_SERVE_S = 0.05


class Outbox:
    """All sends of the process, whichever Topic they came from, so that a commit can wait for all of them."""

    def __init__(self, way: transport.Transport, *, transactional_id: str | None = None) -> None:
        self._servers = way.servers
        self._failures: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._unserved, self._serve_at = 0, 0.0
        self.sender: Sender = way.sender(on_failure=self._failed, transactional_id=transactional_id)
        self._send = self.sender.send

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        at_ms: int,
    ) -> None:
        """Hand over one message; blocks while the buffer is full. Raises what earlier ones ran into."""
        if self._failures:
            self.check()
        try:
            self._send(topic, value, key, headers, at_ms)
        except BufferFull:
            self._send_until_taken(topic, value, key, headers, at_ms)
        self._unserved += 1
        if self._unserved >= _SERVE_EVERY or monotonic() >= self._serve_at:
            self.sender.serve(0)
            self._unserved, self._serve_at = 0, monotonic() + _SERVE_S

    def put(self, topic: str, value: bytes | None, key: bytes, partition: int) -> None:
        """Send something of the SDK's own that must arrive, to that partition. Raises as `send` does."""
        self.check()
        self._send_until_taken(topic, value, key, [], 0, partition)

    def tell(self, topic: str, value: bytes, key: bytes) -> None:
        """Send something of the SDK's own; when it is lost, no send of the script fails for it."""
        with suppress(BufferFull):
            self.sender.send(topic, value, key, [], 0, -1, _ignore)

    def _send_until_taken(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        at_ms: int,
        partition: int = -1,
    ) -> None:
        while True:
            try:
                return self._send(topic, value, key, headers, at_ms, partition)
            except BufferFull:
                self.sender.serve(0.1)
                self.check()

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all is delivered. Raises NotDelivered, or KafkaUnavailable after `timeout` seconds."""
        ends = None if timeout is None else monotonic() + timeout
        while waiting := self.sender.waiting():
            left = 0.2 if ends is None else min(0.2, ends - monotonic())
            if left <= 0:
                raise KafkaUnavailable(self._servers, f"{waiting} messages are still waiting")
            # In slices, so that a signal (Ctrl-C, SIGTERM) is handled while waiting.
            self.sender.flush(left)
        self.sender.serve(0)
        self.check()

    def check(self) -> None:
        """Raise what went wrong since the last call, once."""
        if not self._failures:
            return
        with self._lock:
            failures, self._failures = self._failures, []
        raise NotDelivered(failures[0][0], len(failures), failures[0][1])

    def forget_failures(self) -> None:
        """What was dropped with a transaction is not lost: it is sent again."""
        with self._lock:
            self._failures = []

    def _failed(self, topic: str, reason: str) -> None:
        with self._lock:
            self._failures.append((topic, reason))


def _ignore(topic: str, reason: str) -> None:
    pass


_outbox: Outbox | None = None
_making = threading.Lock()


def outbox() -> Outbox:
    """The process's outbox, made when first needed."""
    global _outbox
    if _outbox is not None:
        return _outbox
    with _making:
        if _outbox is None:
            _outbox = Outbox(transport.current())
        return _outbox


def flush(timeout: float | None = None) -> None:
    """Wait for whatever was sent; nothing is made when nothing was."""
    if _outbox is not None:
        _outbox.flush(timeout)


def swap(other: Outbox | None) -> Outbox | None:
    """Put another outbox in the place of the process's; gives the one before."""
    global _outbox
    before, _outbox = _outbox, other
    return before


def shut() -> None:
    """Deliver what was sent, and give the outbox up."""
    closing = swap(None)
    if closing is not None:
        try:
            closing.flush(_EXIT_FLUSH_S)
        finally:
            closing.sender.close()


def _forget() -> None:
    """A forked child must not use its parent's producer: the threads behind it are not there."""
    global _outbox, _making
    _outbox, _making = None, threading.Lock()


def _deliver_at_exit() -> None:
    """A script whose messages were lost must not count as a success: exit 1, since atexit can't change the code."""
    try:
        flush(_EXIT_FLUSH_S)
    except (NotDelivered, KafkaUnavailable) as error:
        tell("ERROR", str(error))
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


atexit.register(_deliver_at_exit)
os.register_at_fork(after_in_child=_forget)
