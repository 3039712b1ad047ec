"""What a schedule is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal


class BadSchedule(ValueError):
    """The schedule can't be used; the text is one sentence that says why."""


class Dst(StrEnum):
    """What happens to local times that a clock change skips or repeats.

    debian: a fixed time inside the gap is due once, at the first instant after it; a repeated one once;
    wildcard times follow elapsed time. skip_gap: as debian, but fixed times inside the gap are not due.
    utc: the expression is read in UTC.
    """

    DEBIAN = "debian"
    SKIP_GAP = "skip_gap"
    UTC = "utc"


@dataclass(frozen=True)
class ScheduleSpec:
    """One schedule: `cron` (expr, tz, dst), `every` (every, anchor) or `at` (at).

    `id` tells apart the schedules of one context; it does not matter to when they are due.
    """

    kind: Literal["cron", "every", "at"]
    expr: str | None = None
    tz: str = "UTC"
    dst: Dst = Dst.DEBIAN
    every: timedelta | None = None
    anchor: datetime | None = None
    at: datetime | None = None
    id: str | None = None
