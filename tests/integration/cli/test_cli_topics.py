"""`kirby topics` against the running suite: what a script sent is seen, and whether a re-run made it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import kirby as sdk
import pytest
from kirby import transport
from kirby._confluent import Confluent

from tests.eventually import eventually_sync
from tests.integration.cli.conftest import Command
from tests.stores.suites import RunningSuite


@pytest.fixture
def topic(unique_name: Callable[[str], str]) -> str:
    return unique_name("weather")


@contextmanager
def script(suite: RunningSuite, *, rerun: bool = False) -> Iterator[None]:
    """As a script of the suite: its Kafka, its variables."""
    with pytest.MonkeyPatch.context() as patch, transport.using(Confluent(suite.env["KAFKA_BOOTSTRAP_SERVERS"])):
        patch.setenv("KIRBY_RERUN", "1" if rerun else "0")
        yield


def send(suite: RunningSuite, topic: str, *values: object, key: str | None = None, rerun: bool = False) -> None:
    with script(suite, rerun=rerun), sdk.Topic(topic, create=True, partitions=2) as out:
        for value in values:
            out.send(value, key=key)


def test_what_is_in_a_topic_is_listed_and_peeked_and_a_rerun_shows(
    kirby: Command, suite: RunningSuite, topic: str
) -> None:
    send(suite, topic, {"celsius": 11.4}, {"celsius": 12.0}, key="Seattle")
    send(suite, topic, {"celsius": 11.4}, key="Seattle", rerun=True)
    (listed,) = [t for t in kirby.json("topics", "list", "--env", "prod") if t["name"] == topic]
    assert (listed["env"], listed["partitions"], listed["messages"], listed["registered"]) == ("prod", 2, 3, False)
    assert listed["newest"]
    old, _, new = kirby.json("topics", "peek", topic)
    assert (old["key"], old["value"], old["hops"]) == ("Seattle", {"celsius": 11.4}, 1)
    assert new["rerun"] is True
    assert "rerun" not in old
    assert kirby.json("topics", "peek", topic, "-n", "1") == [new]
    place = [str(old["partition"]), "--offset", str(old["offset"])]
    assert kirby.json("topics", "peek", topic, "-n", "1", "--partition", *place) == [old]
    assert len(kirby.json("topics", "peek", topic, "--since", "-1h")) == 3
    tailed = kirby("topics", "tail", topic, "--since", "-1h", "-n", "3", "-o", "json").out.splitlines()
    assert [json.loads(line) for line in tailed] == [old, kirby.json("topics", "peek", topic)[1], new]


def test_lag_and_differences(
    kirby: Command, suite: RunningSuite, topic: str, unique_name: Callable[[str], str]
) -> None:
    other, group = unique_name("other"), unique_name("group")
    send(suite, topic, 1, 2, 3, key="k")
    send(suite, other, 1, 5, key="k")
    with script(suite), sdk.Topic(topic, group=group) as reading:
        assert reading.next(timeout=60) is not None
        reading.commit()
    lagging = eventually_sync(lambda: kirby.json("topics", "lag", topic), what="the group's commit")
    assert [(g["group"], g["lag"]) for g in lagging] == [(group, 2)]
    found = kirby.json("topics", "diff", topic, other)
    assert [found[what] for what in ("same", "changed", "removed", "added")] == [1, 1, 1, 0]
    assert [c["what"] for c in found["items"]] == ["changed", "removed"]
    assert kirby("topics", "diff", topic, topic).out == "3 same, 0 changed, 0 added, 0 removed\n"


def test_what_can_not_be_looked_at_is_one_sentence(kirby: Command, suite: RunningSuite, topic: str) -> None:
    send(suite, topic, 1)
    for words, code, told in (
        (["peek", "no.such.topic"], 4, "there is no topic no.such.topic in prod: `kirby topics list` names them"),
        (["peek", topic, "--env", "moon"], 4, "there is no environment 'moon'"),
        (["peek", topic, "--partition", "7"], 4, f"the topic {topic} has no partition 7: it has 2, from 0"),
        (["peek", topic, "--offset", "1"], 1, "offset: an offset is one of a partition: say which"),
        (["peek", ".kirby.logs"], 1, ".kirby.logs is one of Kirby's own topics, whose messages are shown nowhere"),
        (["peek", topic, "--since", "noon"], 2, "--since 'noon' is no instant"),
    ):
        assert told in kirby("topics", *words, code=code).err
