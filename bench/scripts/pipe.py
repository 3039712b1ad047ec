"""Read, parse, add a field, write: as a script of Kirby's does it, in each of the ways it may."""

import json
import os
import resource
import signal
import time
import uuid
from typing import Any

import kirby

COUNT = int(os.environ["BENCH_COUNT"])
MODE = os.environ["BENCH_MODE"]
source = kirby.Topic(os.environ["BENCH_FROM"], group=f"pipe-{uuid.uuid4()}")
to = kirby.Topic(os.environ["BENCH_TO"])
count, began, ended = 0, 0.0, 0.0


def add_field(message: kirby.Message[Any]) -> None:
    value = message.value
    value["seen"] = True
    to.send(value, key=message.raw_key)


def handled(number: int) -> bool:
    """Notes when the first was had and when the last was delivered."""
    global count, began, ended
    count += number
    if count < COUNT:
        return False
    source.commit()
    ended = time.perf_counter()
    os.kill(os.getpid(), signal.SIGTERM)
    return True


def begin() -> None:
    global began
    began = began or time.perf_counter()


def one(message: kirby.Message[Any]) -> None:
    begin()
    add_field(message)
    handled(1)


def several(messages: list[kirby.Message[Any]]) -> None:
    begin()
    for message in messages:
        add_field(message)
    handled(len(messages))


def iterate() -> None:
    due = time.perf_counter() + 1
    for message in source.iterate(timeout=30):
        begin()
        add_field(message)
        if handled(1):
            return
        if time.perf_counter() >= due:
            source.commit()
            due = time.perf_counter() + 1


def exactly_once() -> None:
    for message in source.exactly_once(timeout=30):
        begin()
        add_field(message)
        if handled(1):
            return


def keyed() -> None:
    """Counts by key in an owned State: count, message and place in one transaction."""
    counts = kirby.OwnedState(f"bench-{uuid.uuid4().hex}", source, create=True)
    for message in source.exactly_once(timeout=30):
        begin()
        key, value = message.key or "", message.value
        counts[key] = value["count"] = counts.get(key, 0) + 1
        to.send(value, key=message.raw_key)
        if handled(1):
            return


WAYS = {
    "iterate": iterate,
    "process": lambda: source.process(one, timeout=30),
    "batches": lambda: source.process_batches(several, timeout=30),
    "exactly-once": exactly_once,
    "exactly-once batches": lambda: source.process_batches(several, timeout=30, exactly_once=True),
    "keyed": keyed,
}
WAYS[MODE]()
if count < COUNT:
    raise SystemExit(f"{count} of {COUNT} messages came")
memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": ended - began, "memory_mb": memory_mb}))
