"""SIGTERM as a request to finish: a reading loop ends after the message in hand."""

import signal
import threading
from types import FrameType

from kirby._logging import tell

asked = False
"""Whether SIGTERM has come; looked at for every message, hence no threading.Event."""


class Drained(SystemExit):
    """Raised by `Topic.next` and `nexts` once the script was asked to end; exits 0 unless it is caught."""

    def __init__(self) -> None:
        super().__init__(0)


def draining() -> bool:
    """Whether the script was asked to end (SIGTERM); a loop of one's own should look at it.

    >>> draining()
    False
    """
    return asked


def replaced(group: str) -> None:
    """A successor has this process's slot in its group: what is left to do is to end, as at SIGTERM."""
    global asked
    if not asked:
        tell("WARNING", f"another process has this one's slot in the group {group!r}: this one ends")
        asked = True


def watch() -> None:
    """Catch SIGTERM, unless the script has a handler of its own or this is not the main thread."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_term)


def _on_term(number: int, frame: FrameType | None) -> None:
    global asked
    if asked:
        raise SystemExit(128 + number)
    asked = True
