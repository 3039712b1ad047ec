"""`kirby replay` from one home to another: production and a laptop, side by side (S8, S9)."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kirby as sdk
import pytest
from kirby import transport
from kirby._confluent import Confluent
from kirby.dev.parts import free_port

from tests.stores.suites import RunningSuite, new_home

COUNT = 12
KAFKA = "KAFKA_BOOTSTRAP_SERVERS"


@pytest.fixture(scope="module")
def laptop() -> Iterator[RunningSuite]:
    """A home where one tries things; `suite` is production."""
    with new_home() as running:
        running.start("--no-demo")
        running.kirby("envs", "add", "test")
        yield running


@pytest.fixture(scope="module")
def raw(suite: RunningSuite) -> str:
    """A topic of production with a dozen messages."""
    name = f"raw-{uuid.uuid4().hex[:8]}"
    with transport.using(Confluent(suite.env[KAFKA])), sdk.Topic(name, create=True, partitions=2) as out:
        for n in range(COUNT):
            out.send({"n": n}, key=f"k{n}")
    return name


def ways(suite: RunningSuite) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Options and variables with which a laptop reads production."""
    return {
        "api": (["--from", suite.url], {"KIRBY_FROM_TOKEN": suite.token}),
        "kafka": (["--bootstrap", suite.env[KAFKA]], {}),
    }


def replayed(suite: RunningSuite, laptop: RunningSuite, topic: str, *words: str, way: str) -> Any:
    """What a replay on the laptop has told. Its shell names a Kafka for scripts, which is not what is copied to."""
    options, env = ways(suite)[way]
    done = laptop.kirby("replay", topic, *options, *words, "-o", "json", env=env | {KAFKA: "127.0.0.1:1"})
    (item,) = json.loads(done.stdout)["items"]
    return item


@pytest.mark.parametrize("way", ["api", "kafka"])
def test_s8_a_slice_of_production_is_a_case_on_the_laptop(
    suite: RunningSuite, laptop: RunningSuite, raw: str, tmp_path: Path, way: str
) -> None:
    case = tmp_path / "case"
    item = replayed(suite, laptop, raw, "--to-folder", str(case), way=way)
    assert (item["copied"], item["total"], item["expired"]) == (COUNT, COUNT, False)
    assert len(list((case / "topics" / raw).iterdir())) == COUNT
    script = tmp_path / "count.py"
    script.write_text(
        "import kirby\n"
        f"found = [m.value['n'] for m in kirby.Topic({raw!r}, group='g').iterate(timeout=0)]\n"
        f"assert sorted(found) == list(range({COUNT})), found\n"
    )
    assert "1 passed" in laptop.kirby("test", str(case), "--script", str(script)).stdout


def test_messages_of_production_are_copied_to_an_environment_of_the_laptop_once_by_either_way(
    suite: RunningSuite, laptop: RunningSuite, raw: str
) -> None:
    first = replayed(suite, laptop, raw, "--to", "test", way="api")
    assert (first["copied"], first["copied_before"]) == (COUNT, 0)
    other_way = replayed(suite, laptop, raw, "--to", "test", way="kafka")
    assert (other_way["copied"], other_way["copied_before"]) == (0, COUNT)
    found = laptop.json("topics", "peek", raw, "--env", "test", "-n", "50")
    assert sorted((m["key"], m["value"]["n"]) for m in found) == sorted((f"k{n}", n) for n in range(COUNT))
    assert all(m["rerun"] is True for m in found)
    again = replayed(suite, laptop, raw, "--to", "test", "--again", way="kafka")
    assert (again["copied"], again["copied_before"]) == (COUNT, 0)


def test_s9_what_would_do_harm_is_refused(suite: RunningSuite, laptop: RunningSuite, raw: str) -> None:
    laptop.kirby("envs", "add", "twin", "--topic-prefix", "")
    laptop.kirby("envs", "add", "mirror", "--topic-prefix", "", "--kafka", suite.env[KAFKA])
    for to, why in (
        ("prod", "a replay into prod is refused"),
        ("twin", "it has the cluster and the prefix of prod"),
        ("mirror", "the messages come from there"),
    ):
        for options, env in ways(suite).values():
            done = laptop.kirby("replay", raw, *options, "--to", to, env=env, check=False)
            assert (done.returncode, why in done.stderr) == (1, True), done.stderr


def test_what_is_said_wrong_is_one_sentence(
    suite: RunningSuite, laptop: RunningSuite, raw: str, tmp_path: Path
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    token = {"KIRBY_FROM_TOKEN": suite.token}
    for words, env, code, told in (
        (["--from", suite.url], {"KIRBY_FROM_TOKEN": "x"}, 6, "is KIRBY_FROM_TOKEN the right one for"),
        (["--from", suite.url], {}, 2, "KIRBY_FROM_TOKEN is not set"),
        (["--from", f"http://{nobody}"], token, 3, "is --from right?"),
        (["--from", suite.url, "--bootstrap", nobody], token, 2, "in one way"),
        (["--from", suite.url, "--env", "stage"], token, 4, "there is no environment 'stage'"),
        (["--from", suite.url, "--since", "noon"], token, 2, "--since 'noon' is no instant"),
    ):
        done = laptop.kirby("replay", raw, *words, "--to-folder", str(tmp_path / "f"), env=env, check=False)
        assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    unknown = laptop.kirby("replay", raw, *ways(suite)["kafka"][0], "--to", "stage", check=False)
    assert (unknown.returncode, "`kirby envs add stage` makes it" in unknown.stderr) == (2, True)
