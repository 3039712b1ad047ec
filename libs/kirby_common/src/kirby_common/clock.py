"""Time as an argument: the wall clock, the boot-time clock, and a clock that tests move by hand."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells time. Nothing else in Kirby asks the machine for it."""

    def now(self) -> datetime:
        """Wall time, aware, UTC. May step; never compare two of them to fence."""
        ...

    def boot(self) -> float:
        """Seconds since the machine's boot, suspended time included. Never steps back."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def boot(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class ManualClock:
    """A clock for tests: stands still until `advance`."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC), boot: float = 1000.0) -> None:
        self._now = now
        self._boot = boot

    def now(self) -> datetime:
        return self._now

    def boot(self) -> float:
        return self._boot

    def advance(self, by: timedelta) -> None:
        self._now += by
        self._boot += by.total_seconds()

    def step_wall(self, by: timedelta) -> None:
        """Moves the wall clock alone, as an administrator or NTP does."""
        self._now += by
