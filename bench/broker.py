"""Topics to measure with, and a broker of its own for what the suite's services would take part in."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from confluent_kafka import Producer
from kirby import lineage
from kirby._confluent import Confluent
from kirby.dev.kafka import KafkaPart
from kirby.dev.parts import free_port

from bench.suite import Suite, home_folder, wait_for

Records = Iterable[tuple[bytes, bytes, list[tuple[str, str | bytes | None]]]]
"""Keys, values and headers."""
PARTITIONS = 4
KEYS = 1000


def messages(default: int) -> int:
    """How many to measure with; `BENCH_MESSAGES` says less, for a try."""
    return min(default, int(os.environ.get("BENCH_MESSAGES") or default))


def of_suite(suite: Suite) -> str:
    return f"127.0.0.1:{suite.parts()['kafka']['port']}"


@contextmanager
def own_broker() -> Iterator[str]:
    """A broker that nobody else uses; its files are removed at the end."""
    home = home_folder()
    part = KafkaPart(home / "kafka", port=free_port(), controller_port=free_port())
    home.mkdir()
    part.prepare()
    launch = part.launch()
    with (home / "kafka.log").open("wb") as log:
        process = subprocess.Popen(launch.argv, env=dict(launch.env), cwd=launch.cwd, stdout=log, stderr=log)
    try:
        wait_for(part.is_ready, what="the broker", timeout_s=60)
        yield part.bootstrap
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(home.parent, ignore_errors=True)


@contextmanager
def topic(servers: str, name: str = "") -> Iterator[str]:
    """An empty topic, deleted at the end."""
    admin = Confluent(servers).admin()
    name = name or f"bench-{uuid.uuid4().hex[:12]}"
    admin.create(name, partitions=PARTITIONS, config={"retention.ms": "-1"})
    try:
        yield name
    finally:
        admin.delete(name)


def fill(servers: str, name: str, records: Records) -> None:
    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random", "linger.ms": 20})
    for key, value, headers in records:
        while True:
            try:
                producer.produce(name, value, key, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def readings(count: int) -> Records:
    """JSON of 200 bytes, over 1,000 keys, as Kirby's first processor writes it: with its header of lineage."""
    for number in range(count):
        key = f"key-{number % KEYS}"
        value = {"city": key, "number": number, "celsius": number % 40 + 0.5, "station": "north", "note": ""}
        value["note"] = "x" * (200 - len(orjson.dumps(value)))
        hop = lineage.pack_hop(b"sensor-1", lineage.NO_INPUT, lineage.NO_INPUT)
        header = lineage.begin(number.to_bytes(16, "big"), hop)
        yield key.encode(), orjson.dumps(value), [("kirby", header), ("content-type", b"application/json")]


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kirby-bench-") as name:
        yield Path(name)
