"""kirby.State over Kafka in memory and on the real broker: the same tests."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kirby
import pytest
from kirby import _hand, transport
from kirby._confluent import Confluent
from kirby.errors import BadValue
from kirby.state.errors import (
    InsideTransaction,
    NotWritten,
    StateAbsent,
    StateConflict,
    StateError,
    StateFenced,
    StateStale,
    StateStopped,
    ValueLost,
    VersionAbsent,
)
from kirby.state.records import (
    POSITION_KEY,
    Latest,
    Mutation,
    Value,
    encode_key,
    encode_latest,
    encode_mutation,
    encode_position,
    latest_topic,
    log_topic,
)
from kirby.state.rule import Op, Writer
from kirby.testing import MemoryKafka, message
from kirby.transport import Transport
from pydantic import BaseModel

from tests.eventually import eventually_sync


@pytest.fixture(params=["memory", "kafka"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, unique_name: Any) -> Iterator[Transport]:
    monkeypatch.setenv("KIRBY_TOPIC_PREFIX", unique_name("t") + ".")
    memory = request.param == "memory"
    made: Transport = MemoryKafka() if memory else Confluent(request.getfixturevalue("kafka_bootstrap"))
    with transport.using(made):
        yield made


@pytest.fixture
def table(way: Transport) -> Iterator[kirby.State]:
    with kirby.State("prices", create=True, partitions=2) as made:
        assert list(made.keys()) == []
        yield made


def another(**options: Any) -> kirby.State:
    """The same State as another process has it."""
    return kirby.State("prices", **options)


def prefix() -> str:
    from kirby import _kafka

    return _kafka.prefix()


def append(way: Transport, *mutations: Mutation | bytes) -> None:
    """To the log, as somebody else's process would."""
    sender = way.sender(on_failure=lambda topic, reason: pytest.fail(reason))
    for one in mutations:
        key, value = (b"k", one) if isinstance(one, bytes) else (encode_key(one.key), encode_mutation(one))
        sender.send(log_topic("prices", prefix=prefix()), value, key, [], 0)
    assert sender.flush(20) == 0
    sender.close()


def mutation(key: str, n: int, data: bytes, **more: Any) -> Mutation:
    given: dict[str, Any] = {"op": Op.SET, "writer": Writer("", 0, "other"), "of": 2, "value": Value(data)}
    return Mutation(key=key, n=n, **(given | more))


def test_what_was_written_is_read_at_once_and_by_others_too(table: kirby.State) -> None:
    assert table.set("bread", {"euro": 3.2}) == 1
    table["milk"] = 1
    assert table["bread"] == {"euro": 3.2}
    assert table.version("bread") == 1
    assert ("milk" in table, "wine" in table, 7 in table) == (True, False, False)
    assert (table.get("wine"), table.get("wine", 5), table.version("wine")) == (None, 5, 0)
    with pytest.raises(KeyError):
        table["wine"]
    with another() as other:
        assert dict(other.items()) == {"bread": {"euro": 3.2}, "milk": 1}
        assert list(other.keys("br")) == ["bread"]
        other["bread"] = 4
        eventually_sync(lambda: table["bread"] == 4, timeout=60)


def test_a_value_that_was_read_is_the_readers_own(table: kirby.State) -> None:
    table["bread"] = {"euro": 3.2}
    table["bread"]["euro"] = 0
    assert table["bread"] == {"euro": 3.2}


def test_versions_conflicts_and_what_was_before(table: kirby.State) -> None:
    first = table.set("k", "a", expect_version=0)
    second = table.set("k", "b", expect_version=first)
    with pytest.raises(StateConflict, match="has version 2, not 1: read it again") as lost:
        table.set("k", "c", expect_version=1)
    assert (lost.value.version, lost.value.expected) == (2, 1)
    assert table.delete("k", expect_version=second) == 3
    assert "k" not in table
    assert table.restore("k", 1) == 4
    assert table["k"] == "a"
    versions = table.history("k")
    assert [(v.version, v.value, v.deleted, v.restores) for v in versions] == [
        (1, "a", False, None),
        (2, "b", False, None),
        (3, None, True, None),
        (4, "a", False, 1),
    ]
    assert (table.get("k", version=2), table.get("k", "gone", version=3)) == ("b", "gone")
    assert table.get("k", as_of=datetime.now(UTC) + timedelta(minutes=5)) == "a"
    for absent in ({"version": 9}, {"as_of": versions[0].at - timedelta(minutes=5)}):
        with pytest.raises(VersionAbsent):
            table.get("k", **absent)
    with pytest.raises(VersionAbsent):
        table.restore("k", 9)
    with pytest.raises(KeyError):
        table.delete("never")


def test_two_who_update_the_same_key_lose_nothing(table: kirby.State) -> None:
    with another() as other:
        states = (table, other)

        def count(state: kirby.State) -> None:
            for _ in range(20):
                state.update("n", lambda n: (n or 0) + 1)

        threads = [threading.Thread(target=count, args=(state,)) for state in states]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert table.history("n")[-1].value == 40
        eventually_sync(lambda: table.version("n") == 40, timeout=60)


def test_pipelined_writes_wait_at_the_end(table: kirby.State) -> None:
    with table.pipelined():
        for n in range(200):
            assert table.set(f"key-{n % 50}", n) == 0
    assert dict(table.items()) == {f"key-{n}": 150 + n for n in range(50)}

    def lose() -> None:
        with table.pipelined():
            table.set("key-1", 1, expect_version=1)
            table.set("new", 1)

    with pytest.raises(StateConflict):
        lose()
    assert table["new"] == 1


def test_watching_gives_every_version_from_now_on(table: kirby.State) -> None:
    table["k"] = 0
    watched = table.watch("k", timeout=60)
    for n in (1, 2):
        table["k"] = n
        table["other"] = n
    assert [next(watched).value for _ in range(2)] == [1, 2]
    assert list(table.watch(timeout=0)) == []


def test_who_and_what_from_is_kept(way: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RUN_ID": "r1", "GRANT": "2", "JOB": "weather", "ENV": "test"}.items():
        monkeypatch.setenv(f"KIRBY_{name}", value)
    with kirby.State("prices", create=True, partitions=2) as table:
        with _hand.holding(message({"c": 1}, topic="weather.raw", offset=17)):
            table["k"] = 1
        (version,) = table.history("k")
        assert (version.by, version.run, version.inputs) == ("weather@test", "r1", ("weather.raw 0:17",))
        append(way, mutation("k", 1, b"2", writer=Writer("r1", 3, "later attempt")))
        with pytest.raises(StateFenced, match="this attempt must end"):
            table["k"] = 3
        assert table["k"] == 2


def test_a_reader_starts_from_latest_and_goes_on_in_the_log(way: Transport, table: kirby.State) -> None:
    table["old"] = "folded already"
    append(way, mutation("k", 1, b'"a"'), mutation("k", 2, b'"b"'), mutation("m", 3, b'"c"'), b"not ours")
    eventually_sync(lambda: table.get("m") == "c", timeout=60)
    replica = table._open()
    topic = latest_topic("prices", prefix=prefix())
    assert way.admin().create(topic, partitions=2, config={"cleanup.policy": "compact"})
    sender = way.sender(on_failure=lambda *_: None)
    row = replica.row("k")
    assert row is not None
    told = Latest(row.memory, Value(b'"told"'), "", 0)
    sender.send(topic, encode_latest(told), b"k", [], 0)
    for number in range(2):
        sender.send(topic, encode_position(1), POSITION_KEY, [], 0, number)
    assert sender.flush(20) == 0
    with another() as other:
        # What `.latest` has is not folded again; what it has not is in the log behind the position.
        assert other["k"] == "told"
        assert other.version("k") == 2
        assert other.set("k", "d", expect_version=2) == 3
        eventually_sync(lambda: table["k"] == "d", timeout=60)


def test_a_repeat_of_a_mutation_and_a_bad_record_change_nothing(way: Transport, table: kirby.State) -> None:
    table["k"] = 1
    append(way, mutation("k", 1, b"2"), mutation("k", 1, b"2"), b"{}", mutation("k", 2, b"3", expect=2))
    eventually_sync(lambda: table["k"] == 3, timeout=60)
    assert [v.value for v in table.history("k")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (b'{"rule":"fold/2","op":"merge"}', "'fold/2', which this version does not know: update kirby"),
        (encode_mutation(mutation("k", 1, b"1", of=3)), "has 2 partitions, and a writer knew 3"),
    ],
)
def test_what_can_t_be_folded_stops_the_state(way: Transport, table: kirby.State, record: bytes, told: str) -> None:
    table["k"] = 1
    append(way, record)

    eventually_sync(lambda: table._open().problem, timeout=60)
    with pytest.raises(StateStopped, match=told):
        table.get("k")
    with pytest.raises(StateStopped, match=told):
        table.set("k", 2)


def test_what_can_t_be_a_state_a_key_or_a_value(way: Transport, table: kirby.State) -> None:
    with pytest.raises(StateAbsent, match="create=True"):
        kirby.State("nowhere").get("k")
    for key in (7, None, b"k"):
        with pytest.raises(TypeError, match="keys are text"):
            table.set(key, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="can't be a State's key"):
        table.set("", 1)
    for value in ({1, 2}, None, object()):
        with pytest.raises(BadValue, match="prices"):
            table.set("k", value)
    with pytest.raises(ValueError, match="use a-z, 0-9 and -"):
        kirby.State("Prices")
    assert table.version("k") == 0


class Price(BaseModel):
    euro: float


def test_models_bytes_and_what_another_serializer_wrote(table: kirby.State) -> None:
    with another(model=Price) as prices, another(serializer="bytes") as blobs:
        prices["bread"] = Price(euro=3.2)
        blobs["raw"] = b"\0\n\xff"
        assert prices["bread"] == Price(euro=3.2)
        eventually_sync(lambda: table.get("raw") == b"\0\n\xff", timeout=60)
        assert table["bread"] == {"euro": 3.2}
        with pytest.raises(BadValue, match="euro: "):
            prices["bread"] = {"euro": "much"}


def test_a_large_value_is_kept_beside_the_log(
    table: kirby.State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIRBY_OBJECTS_URL", str(tmp_path / "objects"))
    table["big"] = "x" * 600_000
    assert len(table["big"]) == 600_000
    assert table.history("big")[0].value == "x" * 600_000
    (kept,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert table.restore("big", 1) == 2
    kept.write_bytes(b"another")
    with pytest.raises(ValueLost, match="it has another hash"):
        table["big"]
    kept.unlink()
    with pytest.raises(ValueLost, match="it is not there"):
        table["big"]


def test_within_exactly_once_a_shared_state_is_not_set(table: kirby.State, unique_name: Callable[[str], str]) -> None:
    with kirby.Topic("in", group=unique_name("g"), create=True) as source:
        source.send(1)
        source.flush()
        assert next(source.exactly_once(timeout=60)).value == 1
        with pytest.raises(InsideTransaction, match="can't be set within exactly_once"):
            table.set("k", 1)
        assert table.get("k") is None


def test_freshness_is_asked_of_kafka(table: kirby.State) -> None:
    table["k"] = 1
    with another(fresh_within=timedelta(seconds=30)) as fresh:
        assert fresh["k"] == 1


def test_a_broker_that_is_away_is_told_and_reading_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = MemoryKafka()
    with (
        kafka,
        kirby.State("prices", create=True, patience=timedelta(seconds=0.3)) as table,
        another(fresh_within=timedelta(seconds=0.1)) as fresh,
    ):
        table["k"] = 1
        assert fresh["k"] == 1
        kafka.available = False
        with pytest.raises(NotWritten, match="did not come back within"):
            table.set("k", 2)
        assert table["k"] == 1

        def is_stale() -> bool:
            try:
                return bool(fresh["k"] != 1)
            except StateStale as error:
                return "could not be made sure of within 0.1 s" in str(error)

        eventually_sync(is_stale, timeout=60)
        with pytest.raises(NotWritten, match="still on its way"):
            table.set("k", 3)
        kafka.available = True


def test_nested_pipelines_are_refused(table: kirby.State) -> None:
    with table.pipelined(), pytest.raises(StateError, match="already"), table.pipelined():
        pass
