"""kirby.OwnedState over Kafka in memory; what hangs on the broker's transactions and groups, on the real one, too."""

import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import kirby
import pytest
from kirby import _kafka, transport
from kirby._confluent import Confluent
from kirby._outbox import outbox
from kirby.state import _owner, _writer
from kirby.state._claim import claim
from kirby.state._filling import Log
from kirby.state._store import folder_of
from kirby.state.errors import (
    NotOwned,
    OutsideTransaction,
    OwnedByAnother,
    OwnerAbsent,
    StateAbsent,
    StateConflict,
    StateError,
    StateStopped,
    VersionAbsent,
)
from kirby.state.records import (
    OWNER_KEY,
    Mutation,
    Value,
    commands_topic,
    encode_key,
    encode_mutation,
    encode_owner,
    log_topic,
)
from kirby.state.rule import Op, Writer
from kirby.testing import MemoryKafka
from kirby.transport import Transport

from tests.eventually import eventually_sync

KEYS = ("a", "b", "c", "d", "e")


on_both = pytest.mark.parametrize("way", ["memory", "kafka"], indirect=True)


@pytest.fixture
def way(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, unique_name: Any, tmp_path: Path
) -> Iterator[Transport]:
    monkeypatch.setenv("KIRBY_TOPIC_PREFIX", unique_name("t") + ".")
    monkeypatch.setenv("KIRBY_STATE_DIR", str(tmp_path))
    monkeypatch.setattr("kirby._drain.asked", False)
    memory = getattr(request, "param", "memory") == "memory"
    made: Transport = MemoryKafka() if memory else Confluent(request.getfixturevalue("kafka_bootstrap"))
    with transport.using(made):
        yield made


@pytest.fixture
def clicks(way: Transport) -> kirby.Topic[Any]:
    source: kirby.Topic[Any] = kirby.Topic("clicks", create=True, partitions=2)
    click(source, *KEYS, *KEYS)
    return source


def click(source: "kirby.Topic[Any]", *keys: str) -> None:
    for key in keys:
        source.send(None, key=key)
    source.flush()


def reading() -> "kirby.Topic[Any]":
    return kirby.Topic("clicks", group="counter")


def counted(messages: int, *, every: float = 0.05, change: Callable[[kirby.OwnedState, str], Any] | None = None) -> int:
    """Counts so many messages as a process of its own would, and ends as it should."""
    with reading() as source, kirby.OwnedState("hits", source, create=True) as hits:
        loop = source.exactly_once(every=every, timeout=60)
        for _ in range(messages):
            count(hits, next(loop).key)
        source.commit()
    return messages


def count(hits: kirby.OwnedState, key: Any) -> None:
    hits.update(key, lambda n: (n or 0) + 1)


def seen() -> dict[str, Any]:
    with kirby.State("hits") as state:
        return dict(state.items())


def versions(key: str) -> list[tuple[int, Any]]:
    with kirby.State("hits") as state:
        return [(v.version, v.value) for v in state.history(key)]


def append(way: Transport, topic: str, mutation: Mutation) -> None:
    sender = way.sender(on_failure=lambda topic, reason: pytest.fail(reason))
    sender.send(topic, encode_mutation(mutation), encode_key(mutation.key), [], 0)
    assert sender.flush(20) == 0
    sender.close()


@on_both
def test_rows_and_place_go_together_and_others_read_them(way: Transport, clicks: kirby.Topic[Any]) -> None:
    counted(10)
    assert seen() == dict.fromkeys(KEYS, 2)
    assert versions("a") == [(1, 1), (2, 2)]


@on_both
def test_a_second_group_is_refused_and_told_whose_it_is(way: Transport, clicks: kirby.Topic[Any]) -> None:
    counted(5)
    told = "'counter', and so not by 'another'"
    with kirby.Topic("clicks", group="another") as source, pytest.raises(OwnedByAnother, match=told):
        kirby.OwnedState("hits", source, create=True)
    counted(5)
    assert seen() == dict.fromkeys(KEYS, 2)


def test_of_two_that_claim_a_new_state_at_once_the_first_in_the_log_has_it(
    way: Transport, clicks: kirby.Topic[Any]
) -> None:
    topic = log_topic("hits", prefix=_kafka.prefix())
    way.admin().create(topic, partitions=2)
    for group in ("first", "second"):
        outbox().put(topic, encode_owner(group), OWNER_KEY, 0)
    log = Log("hits", _kafka.prefix(), 2, way)
    claim(log, "first")
    with pytest.raises(OwnedByAnother, match="'first', and so not by 'second'"):
        claim(log, "second")


def test_what_was_written_to_an_empty_log_can_be_read_from_the_store(
    clicks: kirby.Topic[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    counted(10, every=60)
    click(clicks, *KEYS)
    counted(5)
    assert seen() == dict.fromkeys(KEYS, 3)
    assert "can't be read" not in capfd.readouterr().err


def test_an_owner_reads_what_it_wrote_and_others_when_it_is_committed(clicks: kirby.Topic[Any]) -> None:
    with reading() as source, kirby.OwnedState("hits", source, create=True) as hits:
        loop = source.exactly_once(every=60, timeout=60)
        key = str(next(loop).key)
        assert (key in hits, hits.get(key), hits.version(key)) == (False, None, 0)
        assert hits.set(key, "x", expect_version=0) == 1
        with pytest.raises(StateConflict, match="has version 1, not 0"):
            hits.set(key, "y", expect_version=0)
        hits[key] = "y"
        assert (hits[key], list(hits.keys()), list(hits.items(key))) == ("y", [key], [(key, "y")])
        assert seen() == {}
        source.commit()
        assert seen() == {key: "y"}
        assert [v.value for v in hits.history(key)] == ["x", "y"]


def test_deletions_and_restores(clicks: kirby.Topic[Any]) -> None:
    with reading() as source, kirby.OwnedState("hits", source, create=True) as hits:
        loop = source.exactly_once(every=60, timeout=60)
        key = str(next(loop).key)
        hits[key] = "x"
        source.commit()
        again = next(loop)
        while again.key != key:
            again = next(loop)
        del hits[key]
        with pytest.raises(KeyError):
            hits[key]
        with pytest.raises(KeyError):
            hits.delete(key)
        assert hits.restore(key, 1) == 3
        with pytest.raises(VersionAbsent):
            hits.restore(key, 9)
        source.commit()
    assert versions(key) == [(1, "x"), (2, None), (3, "x")]


def test_a_key_of_another_partition_and_use_outside_of_the_loop_are_refused(clicks: kirby.Topic[Any]) -> None:
    with reading() as source, kirby.OwnedState("hits", source, create=True) as hits:
        with pytest.raises(OutsideTransaction, match="within the exactly_once loop of its topic"):
            hits.get("a")
        message = next(source.exactly_once(every=60, timeout=60))
        number = hits._place(str(message.key))[0]
        other = next(key for key in KEYS if hits._place(key)[0] != number)
        with pytest.raises(NotOwned, match=f"is in partition {1 - number}, which is not the message's"):
            hits[other] = 1
        with pytest.raises(kirby.KirbyError, match="before its exactly_once loop begins"):
            kirby.OwnedState("hits", source)


def test_a_state_is_shared_or_owned(clicks: kirby.Topic[Any]) -> None:
    with reading() as source:
        with pytest.raises(StateAbsent):
            kirby.OwnedState("hits", source)
        with kirby.State("prices", create=True, partitions=2) as prices:
            prices["bread"] = 1
        with pytest.raises(StateError, match="is shared, and can't be owned"):
            kirby.OwnedState("prices", source, create=True)


@on_both
def test_the_store_is_resumed_and_what_it_lacks_is_folded_in(
    way: Transport, clicks: kirby.Topic[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted(10)
    # The first process saved at its first commit; what came after is in the log only.
    monkeypatch.setattr(_owner, "_SAVE_S", 3600.0)
    click(clicks, *KEYS)
    counted(5)
    click(clicks, *KEYS)
    counted(5)
    assert seen() == dict.fromkeys(KEYS, 4)
    assert versions("b") == [(n, n) for n in range(1, 5)]


@pytest.mark.parametrize("harm", ["gone", "rows", "manifest"])
def test_a_store_that_can_t_be_read_is_made_anew(
    way: Transport, clicks: kirby.Topic[Any], harm: str, capfd: pytest.CaptureFixture[str]
) -> None:
    counted(10)
    topic = log_topic("hits", prefix=_kafka.prefix())
    for number in range(2):
        folder = folder_of(way.admin().cluster_id(), topic, number)
        assert (folder / "rows").is_dir()
        if harm == "gone":
            shutil.rmtree(folder)
        for path in folder.rglob("*"):
            if path.name.startswith("MANIFEST" if harm == "manifest" else ("0", "1")):
                path.write_bytes(b"nonsense" * 100)
    click(clicks, *KEYS)
    counted(5)
    assert seen() == dict.fromkeys(KEYS, 3)


def test_a_store_that_is_found_corrupt_within_a_transaction_is_made_anew(
    clicks: kirby.Topic[Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    counted(10)
    click(clicks, *KEYS)
    from kirby.state._store import Store, StoreCorrupt

    broken = {"0", "1"}
    get = Store.get

    def fails_once(self: Store, key: str) -> bytes | None:
        if self._folder.name in broken:
            broken.remove(self._folder.name)
            raise StoreCorrupt("block checksum mismatch")
        return get(self, key)

    with reading() as source, kirby.OwnedState("hits", source) as hits:
        loop = source.exactly_once(every=60, timeout=60)
        first = next(loop)
        monkeypatch.setattr(Store, "get", fails_once)
        count(hits, first.key)
        for _ in range(4):
            count(hits, next(loop).key)
        source.commit()
    assert not broken
    assert "can't be read and is made anew from the log: block checksum mismatch" in capfd.readouterr().err
    assert seen() == dict.fromkeys(KEYS, 3)


def test_an_error_drops_what_was_written(clicks: kirby.Topic[Any]) -> None:
    def fail() -> None:
        with reading() as source, kirby.OwnedState("hits", source, create=True) as hits:
            for message in source.exactly_once(every=60, timeout=60):
                count(hits, message.key)
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen() == {}
    counted(10)
    assert seen() == dict.fromkeys(KEYS, 2)


@on_both
def test_partitions_that_move_take_their_rows_along(way: Transport, clicks: kirby.Topic[Any]) -> None:
    first, second = reading(), reading()
    with (
        first,
        second,
        kirby.OwnedState("hits", first, create=True) as mine,
        kirby.OwnedState("hits", second) as theirs,
    ):
        mine_loop, their_loop = (
            first.exactly_once(every=0.05, timeout=0.2),
            second.exactly_once(every=0.05, timeout=0.2),
        )

        def both() -> bool:
            """Each in turn: whoever has the partitions counts."""
            for loop, hits in ((mine_loop, mine), (their_loop, theirs)):
                for message in loop:
                    count(hits, message.key)
            return len(mine._owner.tables) == len(theirs._owner.tables) == 1

        eventually_sync(both, timeout=60)
        click(clicks, *KEYS)
        eventually_sync(lambda: both() and seen() == dict.fromkeys(KEYS, 3), timeout=60)
    counted_on = [versions(key) for key in KEYS]
    assert counted_on == [[(1, 1), (2, 2), (3, 3)]] * len(KEYS)


@on_both
def test_others_set_and_restore_by_commands_that_the_owner_applies(
    way: Transport, clicks: kirby.Topic[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Time enough on a slow machine, too.
    monkeypatch.setattr(_owner, "COMMAND_MS", 600_000)
    monkeypatch.setattr(_writer, "_OWNER_S", 120.0)
    counted(10)
    ended = threading.Event()

    def own() -> None:
        with reading() as source, kirby.OwnedState("hits", source) as hits:
            while not ended.is_set():
                for message in source.exactly_once(every=0.05, timeout=0.2):
                    count(hits, message.key)

    owner = threading.Thread(target=own)
    owner.start()
    try:
        with kirby.State("hits", patience=timedelta(minutes=2)) as state:
            assert state.set("a", 70, expect_version=2) == 3
            with pytest.raises(StateConflict, match="has version 3, not 2"):
                state.set("a", 71, expect_version=2)
            assert state.restore("a", 1) == 4
            assert state.delete("b") == 3
            with state.pipelined():
                state.set("c", 10)
                state.set("d", 20)
            click(clicks, "a", "c")
            eventually_sync(lambda: (state.get("a"), state.get("c")) == (2, 11), timeout=60)
            assert "b" not in state
            # Sent twice, as after a lost answer: applied once.
            twice = Mutation(key="e", op=Op.SET, writer=Writer("", 0, "rest"), n=1, of=2, value=Value(b"5"))
            for _ in range(2):
                append(way, commands_topic("hits", prefix=_kafka.prefix()), twice)
            assert state.set("e", 6) == 4
            assert [v.value for v in state.history("e")] == [1, 2, 5, 6]
    finally:
        ended.set()
        owner.join(60)
    assert not owner.is_alive()


def test_without_an_owner_a_command_is_refused_and_never_applied(
    clicks: kirby.Topic[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted(10)
    monkeypatch.setattr(_writer, "_OWNER_S", 0.3)
    with kirby.State("hits") as state, pytest.raises(OwnerAbsent, match="Is the processor that owns it running"):
        state.set("a", 70)
    monkeypatch.setattr(_owner, "COMMAND_MS", -60_000)
    click(clicks, *KEYS)
    counted(5)
    assert seen() == dict.fromkeys(KEYS, 3)


def test_a_changed_number_of_partitions_stops_the_owner(way: Transport, clicks: kirby.Topic[Any]) -> None:
    counted(10)
    way.admin().delete(clicks.name)
    eventually_sync(lambda: way.admin().partitions(clicks.name) is None, timeout=60)
    way.admin().create(clicks.name, partitions=3)
    click(clicks, *KEYS)

    def stop() -> None:
        with reading() as source, kirby.OwnedState("hits", source) as hits:
            for message in source.exactly_once(timeout=60):
                count(hits, message.key)

    with pytest.raises(StateStopped, match=r"its log has 2 partitions and its input topic '.*clicks' has 3"):
        stop()


def test_a_log_that_another_width_was_written_to_stops_the_owner(way: Transport, clicks: kirby.Topic[Any]) -> None:
    counted(10)
    strange = Mutation(key="a", op=Op.SET, writer=Writer("", 0, "x"), n=1, of=3, value=Value(b"5"))
    append(way, log_topic("hits", prefix=_kafka.prefix()), strange)
    with pytest.raises(StateStopped, match="has 2 partitions, and a writer knew 3"):
        counted(1)
