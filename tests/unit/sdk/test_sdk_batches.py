"""`process_batches` with dead letters: the message that its batch fails by is found, and blocks no partition."""

from collections.abc import Iterator
from typing import Any

import kirby
import orjson
import pytest
from kirby.testing import MemoryKafka


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKafka]:
    for name in ("KIRBY_TOPIC_PREFIX", "KIRBY_GROUP", "KIRBY_JOB", "KIRBY_ENV", "KIRBY_SLOT", "KIRBY_RERUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("kirby._drain.asked", False)
    with MemoryKafka() as memory:
        memory.create("in", partitions=1)
        memory.create("out", partitions=1)
        yield memory


def letters(kafka: MemoryKafka) -> list[tuple[bytes | None, int, str]]:
    """Value, attempt and reason of each."""
    told = [(r.value(), orjson.loads(dict(r.header_list)["kirby-dead-letter"] or b"")) for r in records(kafka)]
    return [(value, entry["attempt"], entry["reason"].partition(":")[0]) for value, entry in told]


def records(kafka: MemoryKafka) -> list[Any]:
    return list(kafka.records("in.dead-letters"))


def halve(kafka: MemoryKafka, *, exactly_once: bool = False, attempts: int = 1, **more: Any) -> list[list[Any]]:
    """What the handler was called with: it sends half of each, and fails by what is no number or zero."""
    calls: list[list[Any]] = []

    def handle(messages: list[kirby.Message[Any]]) -> None:
        calls.append([message.value for message in messages])
        for message in messages:
            out.send(10 / message.value)

    with kirby.Topic("in", group="g") as topic, kirby.Topic("out") as out:
        dead = kirby.DeadLetters(attempts=attempts, **more)
        topic.process_batches(handle, max_records=4, dead_letters=dead, timeout=0, every=60, exactly_once=exactly_once)
    return calls


@pytest.mark.parametrize("exactly_once", [False, True])
def test_only_the_poison_goes_to_the_dead_letters(kafka: MemoryKafka, exactly_once: bool) -> None:
    for value in (1, 2, 0, 5, 10, "x", 4):
        kafka.add("in", value)
    halve(kafka, exactly_once=exactly_once)
    assert letters(kafka) == [(b"0", 1, "ZeroDivisionError"), (b'"x"', 1, "TypeError")]
    assert {p.offset for p in kafka.groups.of("g").commits.values()} == {7}
    assert set(kafka.values("out")) == {10.0, 5.0, 2.0, 1.0, 2.5}
    if exactly_once:
        assert sorted(kafka.values("out")) == [1.0, 2.0, 2.5, 5.0, 10.0]


def test_a_batch_that_failed_comes_message_by_message_and_later_ones_whole_again(kafka: MemoryKafka) -> None:
    for value in (1, 2, 0, 5, 10, 4, 8, 16):
        kafka.add("in", value)
    assert halve(kafka) == [[1, 2, 0, 5], [1], [2], [0], [5], [10, 4, 8, 16]]


@pytest.mark.parametrize("exactly_once", [False, True])
def test_each_poison_is_tried_as_often_as_is_said(kafka: MemoryKafka, exactly_once: bool) -> None:
    for value in (0, 0, 1):
        kafka.add("in", value)
    calls = halve(kafka, exactly_once=exactly_once, attempts=3)
    assert [attempt for _, attempt, _ in letters(kafka)] == [3, 3]
    assert calls.count([0]) == 6
    assert kafka.values("out") == [10.0]


@pytest.mark.parametrize("exactly_once", [False, True])
def test_what_cannot_be_read_goes_there_at_once_and_the_rest_of_its_batch_is_done(
    kafka: MemoryKafka, exactly_once: bool
) -> None:
    kafka.add("in", 1)
    kafka.add("in", b"{")
    kafka.add("in", 2)
    assert halve(kafka, exactly_once=exactly_once, attempts=3) == [[1, 2]]
    assert letters(kafka) == [(b"{", 1, "BadMessage")]
    assert kafka.values("out") == [10.0, 5.0]


@pytest.mark.parametrize("exactly_once", [False, True])
def test_what_is_not_the_messages_fault_stops_and_commits_nothing_of_the_batch(
    kafka: MemoryKafka, exactly_once: bool
) -> None:
    for value in (1, 0):
        kafka.add("in", value)
    with pytest.raises(ZeroDivisionError):
        halve(kafka, exactly_once=exactly_once, but=(ZeroDivisionError,))
    assert records(kafka) == []
    assert all(p.offset == 0 for p in kafka.groups.of("g").commits.values())
