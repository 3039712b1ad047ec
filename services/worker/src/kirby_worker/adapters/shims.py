"""Starts shims, keeps a few idle ones warm, and talks to those that run."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import structlog

import kirby_worker

log = structlog.get_logger()

_SOURCE = Path(kirby_worker.__file__).parent.parent
_CODE = (
    "import sys; sys.path.append(sys.argv[1]); from kirby_worker.shim.main import main; main(*map(int, sys.argv[2:]))"
)
_LONGEST_LINE = 4 * 1024 * 1024
_KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "TZ", "TESTING", "KIRBY_FAILPOINT")


class ShimGone(ConnectionError):
    """There is no shim at the other end."""


class ShimChannel:
    """The connection to one shim."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, pid: int | None) -> None:
        self._reader = reader
        self._writer = writer
        self.pid = pid

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the shim says, until it ends."""
        while True:
            try:
                line = await self._reader.readline()
            except (ConnectionError, ValueError) as error:
                log.warning("shim.unreadable", pid=self.pid, reason=str(error))
                return
            if not line.endswith(b"\n"):
                return
            yield json.loads(line)

    def send(self, message: dict[str, Any]) -> None:
        """Never waits, never raises: a shim that is gone shows by the end of its messages."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        self._writer.close()


class ShimPool:
    """Idle shims, started ahead so that a run need not wait for one."""

    def __init__(self, *, warm: int, lifeline: int | None, errors: Path) -> None:
        self._warm = warm
        self._lifeline = lifeline
        self._errors = errors
        self._idle: deque[ShimChannel] = deque()
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._taken = asyncio.Event()
        self._taken.set()

    @property
    def pids(self) -> frozenset[int]:
        """The shims that are this process's children, idle ones too."""
        return frozenset(self._children)

    async def take(self) -> ShimChannel:
        """A shim that waits for a task."""
        self._taken.set()
        while self._idle:
            channel = self._idle.popleft()
            if self.lives(channel):
                return channel
        return await self._start()

    def lives(self, shim: ShimChannel) -> bool:
        child = self._children.get(shim.pid or 0)
        return child is not None and child.poll() is None

    async def keep_warm(self) -> None:
        """Brings the idle ones up to their number whenever one was taken, for ever."""
        while True:
            await self._taken.wait()
            self._taken.clear()
            while len(self._idle) < self._warm:
                self._idle.append(await self._start())

    def reap(self) -> None:
        """Forgets the children that have ended."""
        for pid, child in list(self._children.items()):
            if child.poll() is not None:
                del self._children[pid]

    def close(self) -> None:
        """Idle shims end by themselves when their connection does; the others go on without this worker."""
        while self._idle:
            self._idle.popleft().close()

    async def _start(self) -> ShimChannel:
        ours, theirs = socket.socketpair()
        passed = [theirs.fileno()] + ([] if self._lifeline is None else [self._lifeline])
        lifeline = -1 if self._lifeline is None else self._lifeline
        command = [sys.executable, "-I", "-S", "-c", _CODE, str(_SOURCE), str(theirs.fileno()), str(lifeline)]
        with theirs:
            pid = self._spawn(command, passed)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_LONGEST_LINE)
        return ShimChannel(reader, writer, pid=pid)

    def _spawn(self, command: list[str], passed: list[int]) -> int:
        """A plain Popen: the few milliseconds it takes are shorter than the way through a thread."""
        with self._errors.open("ab") as errors:
            child = subprocess.Popen(
                command,
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                cwd="/",
                env={name: os.environ[name] for name in _KEPT if name in os.environ},
            )
        self._children[child.pid] = child
        return child.pid


async def connect(folder: Path, *, pid: int) -> ShimChannel:
    """The shim that serves the run folder. Raises `ShimGone`."""
    # The path of a socket may have 108 bytes; by way of a descriptor the folder's depth does not count.
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        path = f"/proc/self/fd/{fd}/sock"
        reader, writer = await asyncio.open_unix_connection(path, limit=_LONGEST_LINE)
    except OSError as error:
        raise ShimGone(f"no shim at {folder}: {error.strerror or error}") from error
    finally:
        os.close(fd)
    return ShimChannel(reader, writer, pid=pid)
