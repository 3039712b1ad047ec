"""A State: writes that come back, looks into the copy, and how soon a process that begins has a big one."""

from typing import Any

from kirby.state.records import (
    Latest,
    Mutation,
    Value,
    encode_latest,
    encode_mutation,
    latest_topic,
    log_topic,
)
from kirby.state.rule import Op, Writer, fold

from bench.broker import KEYS, PARTITIONS, Records, fill, messages, of_suite, own_broker, topic
from bench.figure import Figure, p50, p99
from bench.figures.dataplane import OURS, run
from bench.suite import Suite

WRITES = 20_000
MUTATIONS = 1_000_000
WRITER = Writer("", 0, "bench")


def measure(suite: Suite) -> list[Figure]:
    count = max(messages(WRITES), KEYS)
    said: dict[str, Any] = run(OURS / "state.py", {"BENCH_COUNT": str(count)}, servers=of_suite(suite))
    times = said["writes_ms"]
    return [
        Figure("shared State, a write: median", p50(times), "ms", "≤ 3", len(times)),
        Figure("shared State, a write: p99", p99(times), "ms", samples=len(times)),
        Figure("shared State, pipelined writes", said["pipelined"], "writes/s", "≥ 10000", count, f"{KEYS:,} keys"),
        Figure("State, reads of the copy", said["gets"], "reads/s", "≥ 500000", 10 * count, f"{KEYS:,} keys"),
    ]


def restore() -> list[Figure]:
    """On a broker of its own, for a suite would project the State meanwhile."""
    count = messages(MUTATIONS)
    with own_broker() as servers:
        with topic(servers, log_topic("bench-restored")) as log:
            fill(servers, log, ((f"key-{n % KEYS}".encode(), _mutation(n, n % KEYS), []) for n in range(count)))
            from_log = run(OURS / "restore.py", {"BENCH_STATE": "bench-restored"}, servers=servers)
        with (
            topic(servers, log_topic("bench-snapshot")),
            topic(servers, latest_topic("bench-snapshot")) as latest,
        ):
            fill(servers, latest, _snapshot(count))
            from_latest = run(OURS / "restore.py", {"BENCH_STATE": "bench-snapshot"}, servers=servers)
    return [
        Figure("State, restored from its log", from_log["seconds"], "s", note=f"{count:,} mutations of {KEYS:,} keys"),
        Figure("State, restored from its log: rate", count / from_log["seconds"], "mutations/s"),
        Figure("State, started from a snapshot", from_latest["seconds"], "s", "≤ 5", note=f"{count:,} keys"),
        Figure("State, started from a snapshot: memory", from_latest["memory_mb"], "MB", note=f"{count:,} keys"),
    ]


def _mutation(n: int, key: int) -> bytes:
    value = Value(b'{"euro": %d.25}' % (n % 100))
    return encode_mutation(Mutation(f"key-{key}", Op.SET, WRITER, n, PARTITIONS, "bench", value))


def _snapshot(count: int) -> Records:
    step = Mutation("key", Op.SET, WRITER, 0, PARTITIONS, "bench", Value(b'{"euro": 1.25}')).step
    data = encode_latest(Latest(fold(None, step, 0).memory, Value(b'{"euro": 1.25}'), "bench", 0))
    for n in range(count):
        yield f"key-{n}".encode(), data, []
