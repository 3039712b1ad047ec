"""What makes everything end with `kirby dev`, even when it is killed: a guard process and a pipe for run shims."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

_GUARD = Path(__file__).with_name("guard.py")


class Lifeline:
    """`read_fd` is for those who watch by themselves: it reports the end of file once this process is gone."""

    read_fd: int

    def __init__(self) -> None:
        self.read_fd, self._write_fd = os.pipe()
        self._groups: set[int] = set()
        self._guard = self._start_guard()

    def add(self, pid: int) -> None:
        self._groups.add(pid)
        self._tell(f"+{pid}")

    def remove(self, pid: int) -> None:
        self._groups.discard(pid)
        self._tell(f"-{pid}")

    def cut(self) -> None:
        """Ends the watchers of the pipe now."""
        if self._write_fd >= 0:
            os.close(self._write_fd)
            self._write_fd = -1

    def close(self) -> None:
        self.cut()
        os.close(self.read_fd)
        self._input.close()
        self._guard.wait()

    @property
    def _input(self) -> IO[bytes]:
        assert self._guard.stdin is not None
        return self._guard.stdin

    def _tell(self, line: str) -> None:
        try:
            self._input.write(f"{line}\n".encode())
        except BrokenPipeError:
            # Somebody killed the guard.
            self._input.close()
            self._guard.wait()
            self._guard = self._start_guard()
            self._input.write("".join(f"+{group}\n" for group in self._groups).encode())

    @staticmethod
    def _start_guard() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
