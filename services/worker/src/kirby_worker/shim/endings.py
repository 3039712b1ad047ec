"""When a script is told to end, killed, and how it ended."""

import os
from typing import Any

_AGAIN_S = 0.1


class Ending:
    """Timeout, TERM, grace, KILL, and the exit status that came of it."""

    def __init__(self, *, timeout_s: float | None, grace_s: float) -> None:
        self.grace_s = grace_s
        self.ended_at: float | None = None
        self._timeout_s = timeout_s
        self._timeout_at: float | None = None
        self._kill_at: float | None = None
        self._status = 0

    @property
    def next_moment(self) -> float | None:
        known = [m for m in (self._timeout_at, self._kill_at) if m is not None]
        return min(known) if known else None

    def begin(self, now: float) -> None:
        if self._timeout_s is not None:
            self._timeout_at = now + self._timeout_s

    def timed_out(self, now: float) -> bool:
        """True once."""
        if self._timeout_at is None or now < self._timeout_at:
            return False
        self._timeout_at = None
        return True

    def stop(self, now: float, *, grace_s: float) -> bool:
        """Sets the moment of the KILL; a later order may only hasten it. True for the first."""
        first = self._kill_at is None
        self._kill_at = now + grace_s if self._kill_at is None else min(self._kill_at, now + grace_s)
        self._timeout_at = None
        return first

    def must_kill(self, now: float) -> bool:
        return self._kill_at is not None and now >= self._kill_at

    def killed(self, now: float) -> None:
        self._kill_at = now + _AGAIN_S

    def exited(self, now: float, *, status: int) -> None:
        self.ended_at = now
        self._status = status

    def facts(self) -> dict[str, Any]:
        code = os.waitstatus_to_exitcode(self._status)
        return {
            "ended_at": self.ended_at,
            "exit_code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
        }
