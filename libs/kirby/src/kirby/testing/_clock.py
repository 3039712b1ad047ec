"""The time that a script sees."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

from kirby._serializers import needed


@contextmanager
def clock(now: datetime | None) -> Iterator[Callable[[], int] | None]:
    """Have it be `now` while the block lasts, and give a function for that time in ms; None is the real clock.

    The time stands still; a script that sleeps moves it on by as much and does not wait. `time.monotonic` goes on as
    it does. Raises KirbyError where time-machine is not installed.
    """
    if now is None:
        yield None
        return
    machine = needed("time_machine", extra="test", what="a case with now =")
    sleep = time.sleep
    with machine.travel(now, tick=False) as traveller:

        def move_on(seconds: float) -> None:
            if sys._getframe(1).f_globals.get("__name__", "").partition(".")[0] == "kirby":
                return sleep(seconds)
            return traveller.shift(seconds)  # type: ignore[no-any-return]

        time.sleep = cast(Any, move_on)
        try:
            yield lambda: time.time_ns() // 1_000_000
        finally:
            time.sleep = sleep
