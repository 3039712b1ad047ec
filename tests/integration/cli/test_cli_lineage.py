"""`kirby lineage` against the running suite (S6): the way of messages that scripts in this process send as jobs do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kirby as sdk
import pytest
from kirby import lineage, transport
from kirby._confluent import Confluent
from kirby.webclient import Answer, answering

from tests.eventually import eventually_sync
from tests.integration.cli.conftest import Command
from tests.stores.suites import RunningSuite


@pytest.fixture
def run(suite: RunningSuite) -> Callable[..., Any]:
    """`with run("weather", "1.2"):` is a run of that job's version: a process of its own in the lineage."""

    @contextmanager
    def as_job(job: str, version: str, *, env: str = "prod", rerun: bool = False) -> Iterator[None]:
        names = {
            "KIRBY_JOB": job, "KIRBY_VERSION": version, "KIRBY_ENV": env, "KIRBY_RUN_ID": f"run-of-{job}",
            "KIRBY_ATTEMPT": "1", "KIRBY_RERUN": "1" if rerun else "0", "PACKAGE_NAME": job,
        }  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            for name, value in names.items():
                patch.setenv(name, value)
            with transport.using(Confluent(suite.env["KAFKA_BOOTSTRAP_SERVERS"])):
                yield

    return as_job


def pass_on(source: str, target: str, *, group: str, make: Callable[[Any], Any] = lambda value: value) -> None:
    with sdk.Topic(source, group=group) as taken, sdk.Topic(target, create=True, partitions=1) as out:
        message = taken.next(timeout=60)
        assert message is not None
        out.send(make(message.value), key="k")
        taken.commit()


def journey(kirby: Command, topic: str, place: str = "0:0") -> Any:
    return kirby.json("lineage", topic, "--message", place)


def test_s6_a_message_is_followed_back_to_its_source_and_forward_to_what_it_touched(
    kirby: Command, run: Callable[..., Any], unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    raw, daily, mean = unique_name("raw"), unique_name("daily"), unique_name("mean")
    with run("sensor", "1.0"), sdk.Topic(raw, create=True, partitions=1) as out:
        out.send({"celsius": 11.4}, key="k")
    with (
        run("summary", "2.1"),
        answering(lambda request: Answer(200, b"1")),
        sdk.Topic(raw, group=unique_name("g")) as taken,
        sdk.Topic(daily, create=True, partitions=1) as out,
    ):
        message = taken.next(timeout=60)
        assert message is not None
        out.send(message.value, key="k")
        sdk.File(tmp_path / "report.json").write_json(message.value)
        sdk.WebClient("met", "https://met.test").post("x", 1)
    with run("mean", "0.3"):
        pass_on(daily, mean, group=unique_name("g"))

    found = journey(kirby, mean)
    assert [(h["by"], h["run_id"], h["output"]["topic"], h["output"]["place"]) for h in found["hops"]] == [
        ("sensor@1.0", "run-of-sensor", raw, "0:0"),
        ("summary@2.1", "run-of-summary", daily, "0:0"),
        ("mean@0.3", "run-of-mean", mean, "0:0"),
    ]
    assert all(h["known"] and h["output"]["at"] and h["host"] for h in found["hops"])
    assert [h["inputs"] for h in found["hops"]][1:] == [
        [{"topic": raw, "partition": 0, "from": 0, "to": 1}],
        [{"topic": daily, "partition": 0, "from": 0, "to": 1}],
    ]

    def forward() -> Any:
        touched = journey(kirby, raw)["touched"]
        return touched if len(touched) == 4 else None

    touched = eventually_sync(forward, timeout=60, what="the recorder")
    assert {(t["kind"], t["name"], t["by"], t["of"]["topic"], t["exact"]) for t in touched} == {
        ("topic", daily, "summary@2.1", raw, True),
        ("file", f"file://{tmp_path}/report.json", "summary@2.1", raw, True),
        ("web", "met", "summary@2.1", raw, True),
        ("topic", mean, "mean@0.3", daily, True),
    }
    table = kirby("lineage", mean, "--message", "0:0").out
    assert "summary@2.1" in table
    assert f"{raw} 0:0" in table

    graph = kirby.json("lineage", daily)
    ends = {(e["source"], e["target"]) for e in graph["edges"]}
    assert {
        ("job:prod/sensor", f"topic:{raw}"), (f"topic:{raw}", "job:prod/summary"),
        ("job:prod/summary", f"topic:{daily}"), (f"topic:{daily}", "job:prod/mean"),
        ("job:prod/mean", f"topic:{mean}"),
    } <= ends  # fmt: skip
    nodes = {n["id"]: n for n in graph["nodes"]}
    assert nodes["job:prod/summary"]["versions"] == ["2.1"]
    assert nodes[f"topic:{daily}"]["rate"] > 0
    assert f"topic:{daily}" in kirby("lineage", "--job", "summary").out


def test_messages_that_met_are_told_as_ranges_and_a_rerun_shows(
    kirby: Command, run: Callable[..., Any], unique_name: Callable[[str], str]
) -> None:
    raw, total = unique_name("raw"), unique_name("total")
    with run("sensor", "1.0", rerun=True), sdk.Topic(raw, create=True, partitions=1) as out:
        for n in range(3):
            out.send(n)
    with (
        run("adder", "1.0"),
        sdk.Topic(raw, group=unique_name("g")) as taken,
        sdk.Topic(total, create=True, partitions=1) as out,
    ):
        batch: list[Any] = []
        while len(batch) < 3:
            batch += taken.nexts(timeout=60)
        out.send(sum(m.value for m in batch), source=batch)

    def whole() -> Any:
        found = journey(kirby, total)
        return found if len(found["hops"]) == 2 else None

    found = eventually_sync(whole, timeout=60, what="the recorder")
    assert found["rerun"] is True
    sensor, adder = found["hops"]
    assert (sensor["by"], sensor["output"]["place"], sensor["rerun"]) == ("sensor@1.0", "0:0", True)
    assert adder["inputs"] == [{"topic": raw, "partition": 0, "from": 0, "to": 3}]

    def last() -> Any:
        return [t["message"]["place"] for t in journey(kirby, raw, "0:2")["touched"]]

    assert eventually_sync(last, timeout=60, what="the recorder") == ["0:0"]


def test_a_cycle_ends_and_what_is_unknown_or_forged_is_told_as_such(
    kirby: Command, run: Callable[..., Any], suite: RunningSuite, unique_name: Callable[[str], str]
) -> None:
    ring, group = unique_name("ring"), unique_name("g")
    forged = lineage.begin(bytes(range(16)), lineage.pack_hop(b"stranger", 0, 5))
    with run("starter", "1.0"), sdk.Topic(ring, create=True, partitions=1) as out:
        out.send(0, headers={"kirby": forged}, key="k")
    for _ in range(3):
        with run("turner", "1.0"):
            pass_on(ring, ring, group=group)
    hops = journey(kirby, ring, "0:3")["hops"]
    assert [h["by"] for h in hops] == ["starter@1.0", *["turner@1.0"] * 3]
    assert [h["output"]["place"] for h in hops] == ["0:0", "0:1", "0:2", "0:3"]

    def turned() -> Any:
        return [t["message"]["place"] for t in journey(kirby, ring)["touched"]] == ["0:1", "0:2", "0:3"]

    eventually_sync(turned, timeout=60, what="the recorder")
    assert {n["id"] for n in kirby.json("lineage", ring)["nodes"]} == {
        f"topic:{ring}", "job:prod/starter", "job:prod/turner"
    }  # fmt: skip

    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": suite.env["KAFKA_BOOTSTRAP_SERVERS"]})
    producer.produce(ring, b"1", partition=0, headers=[("kirby", forged)])
    producer.produce(ring, b"1", partition=0)
    assert producer.flush(30) == 0
    (stranger,) = journey(kirby, ring, "0:4")["hops"]
    assert (stranger["known"], stranger["by"], stranger["process"]) == (False, None, b"stranger".hex())
    assert "unknown process" in kirby("lineage", ring, "--message", "0:4").out
    assert journey(kirby, ring, "0:5")["hops"] == []
    assert "Kirby did not write it" in kirby("lineage", ring, "--message", "0:5").err


def test_what_can_not_be_followed_is_one_sentence(
    kirby: Command, run: Callable[..., Any], unique_name: Callable[[str], str]
) -> None:
    topic = unique_name("t")
    with run("sensor", "1.0"), sdk.Topic(topic, create=True, partitions=1) as out:
        out.send(1)
    for words, code, told in (
        ([topic, "--message", "noon"], 1, "message: 'noon' is no place of a message: write PARTITION:OFFSET"),
        ([topic, "--message", "0:9"], 4, f"there is no message {topic} 0:9 yet"),
        ([topic, "--message", "7:0"], 4, f"the topic {topic} has no partition 7"),
        (["no.such", "--message", "0:0"], 4, "there is no topic no.such in prod"),
        (["no.such"], 4, "nothing is known yet of the topic no.such"),
    ):
        assert told in kirby("lineage", *words, code=code).err
