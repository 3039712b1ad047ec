"""How long it takes to follow a message among a million, and to draw a graph of 500 nodes (L8)."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import kirby
import orjson
import psutil
from confluent_kafka import Producer
from kirby import transport
from kirby._confluent import Confluent

from bench.figure import Figure, p50, p99
from bench.suite import Suite, wait_for

MESSAGES = 1_000_000
NODES = 500
ASKED = 40
RAW, DAY = "bench.raw", "bench.day"
AIM = "≤ 300"


def measure(suite: Suite) -> list[Figure]:
    servers = f"127.0.0.1:{json.loads((suite.home / 'ports.json').read_text())['kafka']}"
    sent = _send(servers)
    _tell_graph(servers)
    with suite.client() as client:
        wait_for(lambda: len(client.get("/lineage/graph").json()["nodes"]) >= NODES, what="the recorder", every_s=0.5)
        ends = {p: _end(client, DAY, p) for p in range(4)}
        places = [(n % 4, ends[n % 4] * (n + 1) // (ASKED + 1)) for n in range(ASKED)]
        back = [_asked(client, DAY, partition, offset, forward=False) for partition, offset in places]
        api = psutil.Process(int(suite.parts()["api"]["pid"]))
        before = _spent(api)
        both = [_asked(client, RAW, partition, offset, forward=True) for partition, offset in places]
        spent = (_spent(api) - before) / ASKED
        graph = [_timed(lambda: client.get("/lineage/graph").raise_for_status()) for _ in range(10)]
    found = sum(len(hops) for _, hops in both)
    note = f"among {MESSAGES:,} messages, sent at {sent:,.0f}/s"
    return [
        Figure("journey back: median", _ms(p50([s for s, _ in back])), "ms", aim=AIM, samples=ASKED, note=note),
        Figure("journey back and forward: median", _ms(p50([s for s, _ in both])), "ms", aim=AIM, samples=ASKED,
               note=f"found {found} of {ASKED}"),
        Figure("journey back and forward: 99 %", _ms(p99([s for s, _ in both])), "ms", aim=AIM, samples=ASKED),
        Figure("journey back and forward: processor time of the api", _ms(spent), "ms", samples=ASKED),
        Figure(f"graph of {NODES} nodes: median", _ms(p50(graph)), "ms", aim=AIM, samples=len(graph)),
    ]  # fmt: skip


def _send(servers: str) -> float:
    """A sensor sends a million messages, a processor makes one of each; as scripts do."""
    with _script(servers, "bench-sensor"), kirby.Topic(RAW, create=True) as raw:
        for number in range(MESSAGES // 2):
            raw.send({"n": number}, key=str(number % 1000))
    begin = time.perf_counter()
    with _script(servers, "bench-daily"), kirby.Topic(RAW, group="bench") as raw, kirby.Topic(DAY, create=True) as day:
        raw.process(lambda message: day.send(message.value, key=message.key), timeout=5)
    return MESSAGES / 2 / (time.perf_counter() - begin - 5)


def _tell_graph(servers: str) -> None:
    """Jobs in rows, each with topics before and after it, told as processes tell."""
    producer = Producer({"bootstrap.servers": servers})
    now = datetime.now(UTC)
    for number in range(NODES // 2):
        process = number.to_bytes(8, "big").hex()
        who = {"job": f"job-{number}", "env": "prod", "version": "1", "reads": f"topic-{number}", "at": now.isoformat()}
        touched = {
            "direction": "out", "kind": "topic", "name": f"topic-{(number * 7 + 1) % (NODES // 2)}", "partition": 0,
            "from": 0, "to": 1, "count": 1, "since_ms": 0, "until_ms": round(now.timestamp() * 1000),
        }  # fmt: skip
        for told in ({"type": "process.announced.v1", **who}, {"type": "process.touched.v1", "touched": [touched]}):
            producer.produce(".kirby.lineage", orjson.dumps({"process": process, **told}), key=process)
    producer.flush(30)


@contextmanager
def _script(servers: str, job: str) -> Iterator[None]:
    names = {"KIRBY_JOB": job, "KIRBY_ENV": "prod", "KIRBY_VERSION": "1"}
    before = dict(os.environ)
    os.environ.update(names)
    try:
        with transport.using(Confluent(servers)):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _end(client: Any, topic: str, partition: int) -> int:
    newest = client.get(f"/data/topics/{topic}/messages", params={"partition": partition, "limit": 1}).json()["items"]
    return int(newest[0]["offset"])


def _asked(client: Any, topic: str, partition: int, offset: int, *, forward: bool) -> tuple[float, list[Any]]:
    query = {"topic": topic, "message": f"{partition}:{offset}", "forward": forward}
    begin = time.perf_counter()
    found = client.get("/lineage/journey", params=query).raise_for_status().json()
    return time.perf_counter() - begin, found["touched"]


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _ms(seconds: float) -> float:
    return seconds * 1000
