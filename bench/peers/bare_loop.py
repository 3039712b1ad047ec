"""The limit in Python: a bare confluent-kafka loop; each second it waits for what it sent, and commits.

In the mode `headers` it reads the headers of each message and sends two, as long as Kirby's.
"""

import json
import os
import time
import uuid

import orjson
from confluent_kafka import Consumer, Producer

COUNT = int(os.environ["BENCH_COUNT"])
HEADERS = os.environ.get("BENCH_MODE") == "headers"
servers = {"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"]}
consumer = Consumer(
    servers
    | {
        "group.id": f"bare-{uuid.uuid4()}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "fetch.wait.max.ms": 100,
    }
)
producer = Producer(
    servers
    | {
        "enable.idempotence": True,
        "linger.ms": 5,
        "delivery.report.only.error": True,
        "queue.buffering.max.messages": 200_000,
    }
)
to = os.environ["BENCH_TO"]
consumer.subscribe([os.environ["BENCH_FROM"]])
count, began = 0, 0.0
due = time.perf_counter() + 1
while count < COUNT:
    messages = consumer.consume(500, 0.1)
    if messages and not began:
        began = time.perf_counter()
    for message in messages:
        value = orjson.loads(message.value())
        value["seen"] = True
        more = {}
        if HEADERS:
            more["headers"] = [("kirby", message.headers()[0][1] + bytes(20)), ("content-type", b"application/json")]
        while True:
            try:
                producer.produce(to, orjson.dumps(value), message.key(), **more)
                break
            except BufferError:
                producer.poll(0.1)
    count += len(messages)
    producer.poll(0)
    if count and time.perf_counter() >= due:
        producer.flush()
        consumer.commit(asynchronous=False)
        due = time.perf_counter() + 1
producer.flush()
consumer.commit(asynchronous=False)
print(json.dumps({"seconds": time.perf_counter() - began}))
consumer.close()
