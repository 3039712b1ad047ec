"""A broker that goes away under a script and comes back: nothing is lost, nothing is doubled by the sender."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from kirby.dev.folders import home_folder, private_folder
from kirby.dev.kafka import KafkaPart
from kirby.dev.parts import free_port
from kirby.dev.processes import Running, start_together, stop_all

SENDER = """
import kirby, time
with kirby.Topic("numbers", create=True) as topic:
    for n in range(4000):
        topic.send(n)
        if n % 10 == 0:
            time.sleep(0.01)
        if n == 200:
            print("under way", flush=True)
"""
READER = """
import kirby
with kirby.Topic("numbers", group="readers", create=True) as topic:
    for message in topic:
        print(message.value, flush=True)
        topic.commit()
"""


@pytest.fixture
def own_kafka() -> Iterator[tuple[KafkaPart, Path]]:
    folder = home_folder(Path(tempfile.mkdtemp(prefix="kirby-outage-")))
    yield KafkaPart(folder / "kafka", port=free_port(), controller_port=free_port()), private_folder(folder / "logs")
    shutil.rmtree(folder, ignore_errors=True)


def start(kafka: KafkaPart, logs: Path) -> list[Running]:
    return start_together([kafka], logs=logs)


def script(code: str, kafka: KafkaPart) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap},
    )


def test_nothing_is_lost_and_nothing_doubled_over_an_outage(own_kafka: tuple[KafkaPart, Path]) -> None:
    kafka, logs = own_kafka
    running = start(kafka, logs)
    try:
        sender, reader = script(SENDER, kafka), script(READER, kafka)
        assert sender.stdout is not None
        assert reader.stdout is not None
        assert sender.stdout.readline() == "under way\n"
        seen = [int(reader.stdout.readline()) for _ in range(50)]
        stop_all(running)
        running = start(kafka, logs)
        assert sender.communicate(timeout=90) == ("", "")
        assert sender.returncode == 0
        while len(set(seen)) < 4000:
            seen.append(int(reader.stdout.readline()))
        reader.terminate()
        out, err = reader.communicate(timeout=30)
        assert (out, err, reader.returncode) == ("", "", 0)
    finally:
        stop_all(running)
    # A commit that the outage swallowed may bring a message again; what was sent is there once.
    assert set(seen) == set(range(4000))
    assert sum(Counter(seen).values()) - 4000 <= 500
