"""Celery: a worker that is warm, and beat, which sends so many tasks at each full minute."""

import os
import time

from celery import Celery
from celery.schedules import crontab

app = Celery("bench", broker=os.environ["BENCH_REDIS"])
app.conf.beat_schedule = {
    f"late-{n}": {"task": "late", "schedule": crontab(), "args": (n,)} for n in range(int(os.environ["BENCH_COUNT"]))
}


@app.task(name="late")
def late(number: int) -> None:
    now = time.time()
    with open(os.environ["BENCH_SEEN"], "a") as seen:
        seen.write(f"{now % 60}\n")
