"""How fast a replay copies, beside a script that reads and sends as fast as it can; what a throttled one costs others.

In place of the raw rate of a stream stands a loop over the SDK that takes bytes from a topic and sends them to another.
"""

import os
import subprocess
import sys
import threading
import time
import uuid

from kirby import transport
from kirby._confluent import Confluent
from kirby.replaying.copying import Tally, replay
from kirby.replaying.kafka import KafkaSource, KafkaTarget
from kirby.transport import BEGINNING, END, Position, Transport

from bench.figure import Figure, p50, p99
from bench.suite import ROOT, Suite

MESSAGES = 200_000
SIZE = 200
LIVE_PER_S = 100
LIVE_S = 15.0
THROTTLE = 10_000
_PARTITIONS = 4


def measure(suite: Suite) -> list[Figure]:
    servers = f"127.0.0.1:{suite.parts()['kafka']['port']}"
    way = Confluent(servers)
    name = f"bench.{uuid.uuid4().hex[:8]}"
    _fill(way, name)
    raw = MESSAGES / _raw(way, name)
    started = time.perf_counter()
    replay(
        KafkaSource(way), KafkaTarget(way, prefix="copy.", origin="prod"), [name], since=None, until=None, rate=None,
        told=lambda tally: None,
    )  # fmt: skip
    copied = MESSAGES / (time.perf_counter() - started)
    alone = _live(way, None)
    beside = _live(way, [sys.executable, "-m", "bench.figures.replays", servers, name])
    note = f"{MESSAGES:,} messages of {SIZE} bytes, {_PARTITIONS} partitions"
    lag = f"{LIVE_PER_S} messages/s"
    return [
        Figure("replay: read and sent by a plain loop", raw, "messages/s", samples=MESSAGES, note=note),
        Figure("replay to another environment", copied, "messages/s", f"≥ {raw / 2:.0f}", MESSAGES, note),
        Figure("live lag, undisturbed, p50", p50(alone) * 1000, "ms", samples=len(alone), note=lag),
        Figure("live lag, undisturbed, p99", p99(alone) * 1000, "ms", samples=len(alone), note=lag),
        Figure("live lag beside a throttled replay, p50", p50(beside) * 1000, "ms", samples=len(beside), note=lag),
        Figure(
            "live lag beside a throttled replay, p99", p99(beside) * 1000, "ms",
            aim=f"≤ {2 * p99(alone) * 1000:.1f}", samples=len(beside), note=f"{lag}; replay of {THROTTLE:,} messages/s",
        ),
    ]  # fmt: skip


def _fill(way: Transport, topic: str) -> None:
    way.admin().create(topic, partitions=_PARTITIONS, config={"retention.ms": "-1"})
    sender = way.sender(on_failure=_failed)
    value = os.urandom(SIZE)
    for number in range(MESSAGES):
        _send(sender, topic, value, number % _PARTITIONS)
    sender.flush(120)
    sender.close()


def _raw(way: Transport, topic: str) -> float:
    """Seconds for reading all and sending it on."""
    other = f"{topic}.raw"
    way.admin().create(other, partitions=_PARTITIONS, config={"retention.ms": "-1"})
    started = time.perf_counter()
    sender, receiver = way.sender(on_failure=_failed), way.receiver(group=None)
    receiver.assign([Position(topic, number, BEGINNING) for number in range(_PARTITIONS)])
    count = 0
    while count < MESSAGES:
        for record in receiver.poll(2000, 1.0):
            _send(sender, other, record.value(), record.partition())
            count += 1
    sender.flush(120)
    took = time.perf_counter() - started
    sender.close()
    receiver.close()
    return took


def _live(way: Transport, beside: list[str] | None) -> list[float]:
    """How long each of some live messages was on its way."""
    topic = f"bench.live.{uuid.uuid4().hex[:8]}"
    way.admin().create(topic, partitions=1)
    receiver = way.receiver(group=None)
    receiver.assign([Position(topic, 0, END)])
    receiver.poll(1, 1.0)
    disturber = None if beside is None else _started(beside)
    sending = threading.Thread(target=_send_live, args=(way, topic))
    sending.start()
    lags: list[float] = []
    while sending.is_alive() or len(lags) < LIVE_PER_S * LIVE_S * 0.9:
        for record in receiver.poll(100, 0.2):
            lags.append(time.time() - float(record.value()))
    sending.join()
    if disturber is not None:
        disturber.terminate()
        disturber.wait()
    receiver.close()
    return lags[LIVE_PER_S:]


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    """The other process, once it copies: what its start costs is no matter of the throttle."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    if not process.stdout.readline():
        raise RuntimeError("the replay that was to disturb has ended")
    return process


def _send_live(way: Transport, topic: str) -> None:
    sender = way.sender(on_failure=_failed, at_once=True)
    for _ in range(int(LIVE_PER_S * LIVE_S)):
        _send(sender, topic, str(time.time()).encode(), 0)
        time.sleep(1 / LIVE_PER_S)
    sender.flush(30)
    sender.close()


def _send(sender: transport.Sender, topic: str, value: bytes, partition: int) -> None:
    while True:
        try:
            return sender.send(topic, value, None, [], 0, partition)
        except transport.BufferFull:
            sender.serve(0.1)


def _failed(topic: str, reason: str) -> None:
    raise RuntimeError(f"{topic}: {reason}")


def _disturb(servers: str, topic: str) -> None:
    way = Confluent(servers)
    began = False

    def told(tally: Tally) -> None:
        nonlocal began
        if tally.copied and not began:
            began = True
            print("copies", flush=True)

    while True:
        target = KafkaTarget(way, prefix="slow.", origin="prod", again=True)
        replay(KafkaSource(way), target, [topic], since=None, until=None, rate=THROTTLE, told=told)
        target.close()


if __name__ == "__main__":
    _disturb(sys.argv[1], sys.argv[2])
