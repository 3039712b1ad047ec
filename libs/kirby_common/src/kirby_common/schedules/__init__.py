"""When a schedule is due: pure, no clock, no I/O. Bad ones raise `BadSchedule` with a sentence for the user."""

from kirby_common.schedules.count import count_due
from kirby_common.schedules.due import due_times, first_due, preview, validate
from kirby_common.schedules.spec import BadSchedule, Dst, ScheduleSpec

__all__ = [
    "BadSchedule",
    "Dst",
    "ScheduleSpec",
    "count_due",
    "due_times",
    "first_due",
    "preview",
    "validate",
]
