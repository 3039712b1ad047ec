"""APScheduler 4 in one process of its own: so many schedules for one instant, run in its threads."""

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta

from apscheduler import AsyncScheduler
from apscheduler.triggers.date import DateTrigger

AT = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)


def late(number: int) -> None:
    print(time.time() - AT.timestamp(), flush=True)


async def main() -> None:
    async with AsyncScheduler() as scheduler:
        for number in range(int(sys.argv[1])):
            await scheduler.add_schedule(late, DateTrigger(AT), args=(number,))
        await scheduler.start_in_background()
        await asyncio.sleep(AT.timestamp() - time.time() + 3)


asyncio.run(main())
