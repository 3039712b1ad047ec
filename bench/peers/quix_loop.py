"""Quix Streams: the same in its dataframe; `keyed` counts by key in its RocksDB with a changelog."""

import json
import os
import time
import uuid

from quixstreams import Application, State

COUNT = int(os.environ["BENCH_COUNT"])
app = Application(
    os.environ["KAFKA_BOOTSTRAP_SERVERS"],
    consumer_group=f"quix-{uuid.uuid4()}",
    auto_offset_reset="earliest",
    commit_interval=1.0,
    loglevel="ERROR",
    state_dir=os.environ["BENCH_FOLDER"],
    auto_create_topics=os.environ["BENCH_MODE"] == "keyed",
    processing_guarantee="exactly-once" if os.environ["BENCH_MODE"] == "exactly-once" else "at-least-once",
)
count, began, ended = 0, 0.0, 0.0


def seen() -> None:
    global count, began, ended
    if not count:
        began = time.perf_counter()
    count += 1
    if count == COUNT:
        ended = time.perf_counter()


def add_field(value: dict) -> dict:
    seen()
    value["seen"] = True
    return value


def count_up(value: dict, state: State) -> dict:
    seen()
    number = state.get("count", 0) + 1
    state.set("count", number)
    value["count"] = number
    return value


stream = app.dataframe(app.topic(os.environ["BENCH_FROM"], value_deserializer="json"))
stream = stream.apply(count_up, stateful=True) if os.environ["BENCH_MODE"] == "keyed" else stream.apply(add_field)
stream.to_topic(app.topic(os.environ["BENCH_TO"], value_serializer="json"))
app.run(count=COUNT, timeout=60, collect=False)
if count < COUNT:
    raise SystemExit(f"{count} of {COUNT} messages came")
print(json.dumps({"seconds": ended - began}))
