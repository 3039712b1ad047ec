"""`kirby state` against the running suite: S3, S4 and S5 of the acceptance list, as a user types them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import kirby as sdk
import pytest
from kirby import transport
from kirby._confluent import Confluent

from tests.eventually import eventually_sync
from tests.integration.cli.conftest import Command
from tests.stores.suites import RunningSuite


@pytest.fixture
def p(unique_name: Callable[[str], str]) -> str:
    return unique_name("p")


def test_s3_three_sets_and_a_restore_are_four_versions(kirby: Command, p: str) -> None:
    for number, value in enumerate(('{"usd": 1}', "plain text", "[3]"), 1):
        assert kirby("state", "set", p, "k", value).out == f"k has version {number}\n"
    assert kirby("state", "restore", p, "k", "1").out == "k has version 4\n"
    versions = kirby.json("state", "history", p, "k")
    assert [(v["version"], v["value"]) for v in versions] == [
        (1, {"usd": 1}),
        (2, "plain text"),
        (3, [3]),
        (4, {"usd": 1}),
    ]
    assert kirby("state", "get", p, "k").out == '{"usd": 1}\n'
    assert kirby("state", "get", p, "k", "--version", "2").out == '"plain text"\n'
    assert kirby("state", "diff", p, "k", "1", "2").out.splitlines()[1].split() == [
        "(the", "value)", "changed", '{"usd":', "1}", '"plain', 'text"',
    ]  # fmt: skip
    (changed,) = kirby.json("state", "diff", p, "--since", "2026-01-01T00:00:00Z")
    assert (changed["before"], changed["after"]["version"]) == (None, 4)
    assert kirby("state", "delete", p, "k").out == "k has version 5\n"
    assert kirby("state", "ls", p).err == "No keys.\n"
    assert [(s["keys"], s["versions"]) for s in kirby.json("state", "ls") if s["name"] == p] == [(0, 5)]


def test_s4_a_dropped_projection_is_rebuilt_to_the_same(kirby: Command, suite: RunningSuite, p: str) -> None:
    for n in range(5):
        kirby("state", "set", p, f"k{n % 2}", str(n), "--text")
    before = {key: kirby.json("state", "history", p, key) for key in ("k0", "k1")}
    assert kirby("state", "rebuild", p).out == f"Rebuilt {p}\n"
    assert {key: kirby.json("state", "history", p, key) for key in ("k0", "k1")} == before


def test_s5_of_two_writers_one_is_told_that_it_lost(kirby: Command, suite: RunningSuite, p: str) -> None:
    kirby("state", "set", p, "k", "0", "--expect-version", "0")

    def write(n: int) -> httpx2.Response:
        return httpx2.put(
            f"{suite.url}/api/v1/states/{p}/value",
            params={"key": "k"},
            json={"value": n, "expect_version": 1},
            headers={"Authorization": f"Bearer {suite.token}"},
            timeout=60,
        )

    with ThreadPoolExecutor(2) as pool:
        codes = sorted(answer.status_code for answer in pool.map(write, (1, 2)))
    assert codes == [200, 409]
    lost = kirby("state", "set", p, "k", "3", "--expect-version", "1", code=5)
    assert lost.err == f"the key 'k' of State '{p}' in prod has version 2, not 1: read it again\n"


def test_a_script_and_the_command_see_the_same_state(
    kirby: Command, suite: RunningSuite, p: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kirby("state", "set", p, "k", "1")
    monkeypatch.delenv("KIRBY_TOPIC_PREFIX", raising=False)
    with transport.using(Confluent(suite.env["KAFKA_BOOTSTRAP_SERVERS"])), sdk.State(p) as table:
        assert (table["k"], table.version("k")) == (1, 1)
        assert table.set("k", {"from": "a script"}, expect_version=1) == 2

        def shown() -> Any:
            return kirby.json("state", "get", p, "k")["value"] == {"from": "a script"}

        eventually_sync(shown, timeout=30)


def test_what_the_command_refuses_is_one_sentence(kirby: Command, p: str) -> None:
    assert kirby("state", "get", p, "k", code=4).err.startswith(f"there is no State '{p}' in prod")
    assert "use a-z, 0-9 and -" in kirby("state", "set", "Prices", "k", "1", code=1).err
    assert "Say what to compare" in kirby("state", "diff", p, code=2).err
    assert kirby("state", "ls", "--env", "nowhere").err.startswith("No States")
