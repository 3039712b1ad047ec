"""The script's process as the shim sees it: waiting, replaced if it does not hold out, started."""

import os
import selectors
from collections.abc import Callable
from typing import Any

from kirby_worker.shim import armed, child, frames
from kirby_worker.shim.output import Output
from kirby_worker.shim.wire import Lines

_FITS_A_PIPE = 32_768


class Script:
    """One child, and its pipes in the shim's selector."""

    def __init__(
        self,
        task: dict[str, Any],
        *,
        waiting: child.Waiting | None,
        selector: selectors.BaseSelector,
        output: Output,
        on_executed: Callable[[str], None],
        on_question: Callable[[], None],
    ) -> None:
        self._task = task
        self._selector = selector
        self._output = output
        self._on_executed = on_executed
        self._on_question = on_question
        self._child = waiting or child.fork(task)
        self._came_first = waiting is not None
        self._executed: str | None = None
        self.secrets = Lines(self._child.secrets)
        self.watched = False

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def armed(self) -> bool:
        return self._child.armed

    def watch(self) -> None:
        """Starts to listen to the child's pipes."""
        self.watched = True
        waiting = self._child
        self._selector.register(waiting.failure, selectors.EVENT_READ, self._on_failure)
        self._selector.register(self.secrets.fileno(), selectors.EVENT_READ, self._on_question)
        self._output.watch(self._selector, {frames.STDOUT: waiting.stdout, frames.STDERR: waiting.stderr})
        if waiting.armed and len(self._start(1)) > _FITS_A_PIPE:
            # To write more than the pipe holds would mean to wait for somebody who may never read.
            self.replace()

    def replace(self) -> None:
        """A plain child takes the place of an armed one that has died, or can't be used."""
        child.end(self._child.pid)
        self._output.abandon()
        if self._executed is None:
            self._close_failure()
        self.forget_secrets()
        self._child.close()
        self._child = child.fork(self._task | {"load": None})
        self._came_first = False
        self._executed = None
        self.secrets = Lines(self._child.secrets)
        self.watch()

    def start(self, attempt: int) -> None:
        """Says the word. Raises OSError when nobody hears it: then nothing was started."""
        try:
            self._say(self._start(attempt))
        except BrokenPipeError:
            if not self.armed:
                raise
            # It has died unnoticed before it could hear anything.
            self.replace()
            self._say(self._start(attempt))

    def executed(self) -> str | None:
        """What was wrong with executing the script's Python, "" for nothing; None: it has not been executed yet."""
        return self._executed

    def forget_secrets(self) -> None:
        """Nobody asks any more."""
        if self.secrets.fileno() in self._selector.get_map():
            self._selector.unregister(self.secrets.fileno())

    def _say(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._child.start, data) :]

    def _start(self, attempt: int) -> bytes:
        task = self._task
        own = {"KIRBY_ATTEMPT": str(attempt), "KIRBY_SECRET_FD": str(self._child.secrets_fd)}
        folder = os.path.join(task["folder"], "work")
        return armed.pack({"cwd": folder if self._came_first else None, "argv": task["argv"], "env": task["env"] | own})

    def _on_failure(self) -> None:
        self._executed = os.read(self._child.failure, 4096).decode(errors="replace")
        self._close_failure()
        self._on_executed(self._executed)

    def _close_failure(self) -> None:
        self._selector.unregister(self._child.failure)
        os.close(self._child.failure)
