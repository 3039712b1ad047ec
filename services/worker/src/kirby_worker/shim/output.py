"""The script's output: from its pipes through the framer into the spool, and who is told of it."""

import os
import selectors
import time

from kirby_worker.shim import frames, processes
from kirby_worker.shim.spool import Spool

_READ = 65_536
_RETRY_S = 0.2
_DRAIN_S = 1.0


class Output:
    """Reads as long as the spool takes it; otherwise the pipes fill up, and only the script waits."""

    def __init__(self, *, limit: int) -> None:
        self._spool = Spool(limit=limit)
        self._framer = frames.Framer()
        self._selector: selectors.BaseSelector | None = None
        self._streams: dict[int, int] = {}
        self._paused = False
        self._retry_at: float | None = None
        self._drain_since: float | None = None
        self._waking = False
        self._told = (1, 0)
        self._ended = False

    @property
    def blocked(self) -> bool:
        return self._spool.blocked

    @property
    def next_moment(self) -> float | None:
        known = [m for m in (self._framer.next_flush(), self._retry_at) if m is not None]
        return min(known) if known else None

    def watch(self, selector: selectors.BaseSelector, streams: dict[int, int]) -> None:
        """Starts to read; `streams` maps the stream's number to its pipe."""
        self._selector = selector
        self._streams = dict(streams)
        self._resume()

    def abandon(self) -> None:
        """Reads no more of the present streams; `watch` brings others."""
        for stream in list(self._streams):
            self._close(stream)

    def system(self, text: str) -> None:
        """A line of Kirby's own among the script's."""
        self._write(self._framer.system(text, t_ns=time.time_ns()))

    def on_clock(self, now: float) -> None:
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            self._write(b"")
        flushed = self._framer.flush(now=now, t_ns=time.time_ns())
        if flushed:
            self._write(flushed)

    def drained(self, now: float) -> bool:
        """Nothing more can come: all pipes are at their end, or kept open by a process that is not of the tree."""
        if self._spool.blocked:
            self._drain_since = None
            return False
        self._drain_since = self._drain_since or now
        if self._streams and now >= self._drain_since + _DRAIN_S:
            for stream in list(self._streams):
                self._close(stream)
        return not self._streams

    def end(self) -> bool:
        """Writes the last frame and makes all of it durable; False when there is no room for it yet."""
        if not self._ended:
            self._ended = True
            self._spool.write(self._framer.end(t_ns=time.time_ns()))
        if not self._spool.write():
            return False
        try:
            self._spool.sync()
        except OSError:
            return False
        return True

    def summary(self) -> dict[str, object]:
        return self._framer.summary()

    def wake(self) -> bool:
        """Whether to tell the worker that there is more; at most one word is under way at a time."""
        if self._waking or self._spool.position == self._told:
            return False
        self._waking = True
        self._told = self._spool.position
        return True

    def seen(self) -> None:
        """The worker has read what there was when it was told."""
        self._waking = False

    def forget_wake(self) -> None:
        """Another worker listens now: it is told anew."""
        self._waking = False
        self._told = (1, 0)

    def _on_readable(self, stream: int) -> None:
        try:
            data = os.read(self._streams[stream], _READ)
        except BlockingIOError:
            return
        if data:
            now = processes.boot_clock()
            self._write(self._framer.feed(stream, data, now=now, t_ns=time.time_ns()))
        else:
            self._write(self._framer.release(stream, t_ns=time.time_ns()))
            self._close(stream)

    def _write(self, data: bytes) -> None:
        if not self._spool.write(data):
            self._pause()
            self._retry_at = processes.boot_clock() + _RETRY_S
        elif self._paused:
            self._resume()

    def _pause(self) -> None:
        if not self._paused and self._selector is not None:
            self._paused = True
            for fd in self._streams.values():
                self._selector.unregister(fd)

    def _resume(self) -> None:
        assert self._selector is not None
        self._paused = False
        for stream, fd in self._streams.items():
            self._selector.register(fd, selectors.EVENT_READ, lambda stream=stream: self._on_readable(stream))

    def _close(self, stream: int) -> None:
        fd = self._streams.pop(stream)
        if not self._paused and self._selector is not None:
            self._selector.unregister(fd)
        os.close(fd)
