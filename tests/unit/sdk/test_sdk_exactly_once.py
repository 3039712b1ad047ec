"""`exactly_once` on Kafka in memory: what is sent and the offsets go together, or not at all."""

from collections.abc import Iterator

import kirby
import pytest
from kirby.testing import MemoryKafka
from kirby.testing._receiver import MemoryReceiver


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKafka]:
    for name in ("KIRBY_TOPIC_PREFIX", "KIRBY_GROUP", "KIRBY_JOB", "KIRBY_ENV", "KIRBY_SLOT", "KIRBY_RERUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("kirby._drain.asked", False)
    with MemoryKafka() as memory:
        memory.create("in", partitions=2)
        memory.create("out", partitions=1)
        for n in range(10):
            memory.add("in", n, partition=n % 2)
        yield memory


def committed(kafka: MemoryKafka) -> dict[int, int]:
    return {n: p.offset for (_, n), p in kafka.groups.of("g").commits.items()}


def receiver_of(topic: "kirby.Topic[int]") -> MemoryReceiver:
    receiver = topic._reading().receiver
    assert isinstance(receiver, MemoryReceiver)
    return receiver


def test_all_goes_together(kafka: MemoryKafka) -> None:
    with kirby.Topic("in", group="g") as topic, kirby.Topic("out") as out:
        for message in topic.exactly_once(timeout=0, every=60):
            out.send(message.value)
            assert kafka.values("out") == []
            assert committed(kafka) == {}
        out.send("after")
    assert sorted(map(str, kafka.values("out"))) == [*map(str, range(10)), "after"]
    assert committed(kafka) == {0: 5, 1: 5}


def test_every_transaction_has_the_positions_of_all_partitions(kafka: MemoryKafka) -> None:
    with kirby.Topic("in", group="g") as topic:
        messages = topic.exactly_once(timeout=0, every=60)
        next(messages)
        topic.commit()
        assert committed(kafka) == {0: 1, 1: 0}


def test_an_error_drops_what_was_sent_and_the_messages_come_again(kafka: MemoryKafka) -> None:
    def run() -> None:
        with kirby.Topic("in", group="g") as topic, kirby.Topic("out") as out:
            for message in topic.exactly_once(timeout=0, every=60):
                out.send(1 / (message.value - 4))

    with pytest.raises(ZeroDivisionError):
        run()
    assert kafka.values("out") == []
    assert committed(kafka) == {}


def test_a_lost_membership_drops_the_transaction_and_nothing_is_doubled(kafka: MemoryKafka) -> None:
    with kirby.Topic("in", group="g") as topic, kirby.Topic("out") as out:
        for number, message in enumerate(topic.exactly_once(timeout=0, every=60)):
            out.send(message.value)
            if number in (3, 7):
                receiver_of(topic).lose()
    assert sorted(kafka.values("out")) == list(range(10))
    assert committed(kafka) == {0: 5, 1: 5}


def test_partitions_that_go_take_their_transaction_with_them(kafka: MemoryKafka) -> None:
    first, second, out = kirby.Topic("in", group="g"), kirby.Topic("in", group="g"), kirby.Topic("out")
    with first, second, out:
        mine = first.exactly_once(timeout=0, every=60)
        out.send(next(mine).value)
        out.send(next(mine).value)
        second._reading()
        for message in mine:
            out.send(message.value)
        assert committed(kafka) == {0: 5}
        for message in second.exactly_once(timeout=0, every=60):
            out.send(message.value)
    assert sorted(kafka.values("out")) == list(range(10))
    assert committed(kafka) == {0: 5, 1: 5}


def test_who_comes_back_in_a_slot_fences_who_was_there(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRBY_SLOT", "0")
    old, out = kirby.Topic("in", group="g"), kirby.Topic("out")
    messages = old.exactly_once(timeout=0, every=60)
    out.send(next(messages).value)
    # Another process: it knows nothing of the first one's reader.
    from kirby import _reader

    _reader._open.clear()
    with kirby.Topic("in", group="g") as new:
        fresh = [m.value for m in new.exactly_once(timeout=0, every=60)]
    assert sorted(fresh) == list(range(10))
    for message in messages:
        out.send(message.value)
    assert kirby.draining()
    old.close()
    assert kafka.values("out") == []


def test_batches_in_transactions(kafka: MemoryKafka) -> None:
    sizes: list[int] = []
    with kirby.Topic("in", group="g") as topic, kirby.Topic("out") as out:

        def handle(batch: list[kirby.Message[int]]) -> None:
            sizes.append(len(batch))
            for message in batch:
                out.send(message.value)

        topic.process_batches(handle, max_records=4, timeout=0, every=60, exactly_once=True)
    assert (sizes, sorted(kafka.values("out"))) == ([4, 4, 2], list(range(10)))
    assert committed(kafka) == {0: 5, 1: 5}


def test_it_needs_a_group(kafka: MemoryKafka) -> None:
    with pytest.raises(kirby.KirbyError, match="exactly_once needs a group"):
        kirby.Topic("in").exactly_once()
