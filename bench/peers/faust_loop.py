"""Faust: the same in an agent; `keyed` counts by key in a table with a changelog."""

import json
import os
import time
import uuid

import faust

COUNT = int(os.environ["BENCH_COUNT"])
KEYED = os.environ["BENCH_MODE"] == "keyed"
app = faust.App(
    f"faust-{uuid.uuid4()}",
    broker=f"kafka://{os.environ['KAFKA_BOOTSTRAP_SERVERS']}",
    store="memory://",
    datadir=os.environ["BENCH_FOLDER"],
    topic_partitions=4,
    topic_replication_factor=1,
    consumer_auto_offset_reset="earliest",
    broker_commit_interval=1.0,
    web_enabled=False,
)
source = app.topic(os.environ["BENCH_FROM"], key_type=bytes, value_serializer="json")
to = app.topic(os.environ["BENCH_TO"], key_type=bytes, value_serializer="json")
counts = app.Table("counts", key_type=bytes, value_type=int, default=int, partitions=4) if KEYED else None


@app.agent(source)
async def work(stream: faust.Stream) -> None:
    count, began = 0, 0.0
    async for key, value in stream.items():
        if not count:
            began = time.perf_counter()
        if counts is None:
            value["seen"] = True
        else:
            counts[key] += 1
            value["count"] = counts[key]
        await to.send(key=key, value=value)
        count += 1
        if count == COUNT:
            # Its own standard output is a logger by now.
            os.write(1, f"\n{json.dumps({'seconds': time.perf_counter() - began})}\n".encode())
            os._exit(0)


app.finalize()
faust.Worker(app, loglevel="ERROR").execute_from_commandline()
