"""A group that was moved back: what is flagged, what is committed, and where reading goes on, with Kafka in memory."""

from collections.abc import Iterator

import kirby
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kirby.rewinding import Mark, Pace, mark_of, pace_of
from kirby.testing import MemoryKafka
from kirby.transport import Position


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKafka]:
    for name in ("KIRBY_TOPIC_PREFIX", "KIRBY_GROUP", "KIRBY_JOB", "KIRBY_ENV", "KIRBY_RERUN", "KIRBY_SLOT"):
        monkeypatch.delenv(name, raising=False)
    with MemoryKafka() as kafka:
        kafka.create("raw", partitions=1)
        kafka.create("daily", partitions=1)
        for number in range(10):
            kafka.add("raw", number, partition=0)
        yield kafka


def rewind(kafka: MemoryKafka, offset: int, mark: Mark) -> None:
    kafka.groups.of("daily").commits["raw", 0] = Position("raw", 0, offset, mark.text())


def committed(kafka: MemoryKafka) -> tuple[int, str]:
    place = kafka.groups.of("daily").commits["raw", 0]
    return place.offset, place.metadata


def flags(kafka: MemoryKafka) -> list[tuple[object, bool]]:
    found = [
        (value, kirby.lineage.is_rerun(dict(record.headers() or [])["kirby"] or b""))
        for value, record in zip(kafka.values("daily"), kafka.records("daily"), strict=True)
    ]
    return sorted(found, key=str)


@given(st.text("0123456789abcdef-", min_size=1), st.integers(0, 2**62), st.integers(0, 2**20), st.integers(0, 10_000))
def test_a_mark_survives_its_text(rewind: str, to: int, more: int, rate: int) -> None:
    mark = Mark(rewind, to, to + more, rate)
    assert mark_of(mark.text()) == mark
    assert mark_of(mark.text() + "\x7f:1;") == mark


@pytest.mark.parametrize(
    "text",
    ["", "else", "rewind:a:5;", "rewind:a:5:9:0", "rewind:a:5:4:0;", "rewind:a:-1:4:0;", "rewind:a:5:9:-1;"],
)
def test_what_is_no_mark_is_ignored(text: str) -> None:
    assert mark_of(text) is None


def test_what_is_read_again_is_flagged_downstream_and_what_is_live_is_not(kafka: MemoryKafka) -> None:
    rewind(kafka, 4, Mark("r1", to=7, back=7))
    with kirby.Topic("raw", group="daily") as raw, kirby.Topic("daily") as daily:
        seen = []
        for message in raw.iterate(timeout=0):
            seen.append((message.value, message.rerun))
            daily.send(message.value)
            raw.commit()
    again = [(4, True), (5, True), (6, True), (7, False), (8, False), (9, False)]
    assert seen == again
    assert flags(kafka) == again


def test_each_commit_below_the_end_tells_of_the_rewind_and_later_ones_do_not(kafka: MemoryKafka) -> None:
    mark = Mark("r1", to=7, back=7)
    rewind(kafka, 4, mark)
    with kirby.Topic("raw", group="daily") as raw:
        for expected in [(5, mark.text()), (6, mark.text()), (7, ""), (8, "")]:
            assert raw.next(timeout=0) is not None
            raw.commit()
            assert committed(kafka) == expected


def test_who_crashes_in_a_rewind_goes_on_flagging(kafka: MemoryKafka) -> None:
    rewind(kafka, 4, Mark("r1", to=7, back=7))
    with kirby.Topic("raw", group="daily") as raw:
        raw.next(timeout=0)
        raw.commit()
    with kirby.Topic("raw", group="daily") as raw:
        assert [(m.value, m.rerun) for m in raw.nexts(timeout=0)][:3] == [(5, True), (6, True), (7, False)]


@pytest.mark.parametrize("together", [1, 3, 500])
def test_a_rewind_that_ends_early_leaves_out_what_was_done_before_it(kafka: MemoryKafka, together: int) -> None:
    rewind(kafka, 2, Mark("r1", to=4, back=8))
    with kirby.Topic("raw", group="daily") as raw:
        seen: list[tuple[int, bool]] = []
        while batch := raw.nexts(together, timeout=0):
            seen += [(m.value, m.rerun) for m in batch]
            raw.commit()
    assert seen == [(2, True), (3, True), (8, False), (9, False)]
    assert committed(kafka) == (10, "")


def test_at_the_end_of_an_early_rewind_the_commit_is_where_the_group_was(kafka: MemoryKafka) -> None:
    rewind(kafka, 3, Mark("r1", to=4, back=8))
    with kirby.Topic("raw", group="daily") as raw:
        assert raw.next(timeout=0).value == 3  # type: ignore[union-attr]
        raw.commit()
    assert committed(kafka) == (8, "")


def test_in_transactions_the_offsets_tell_of_the_rewind_too(kafka: MemoryKafka) -> None:
    mark = Mark("r1", to=7, back=7)
    rewind(kafka, 4, mark)
    with kirby.Topic("raw", group="daily") as raw, kirby.Topic("daily") as daily:
        for message in raw.exactly_once(every=0, timeout=0):
            if message.value == 6:
                assert committed(kafka) == (6, mark.text())
            daily.send(message.value)
    assert committed(kafka) == (10, "")
    assert flags(kafka) == [(4, True), (5, True), (6, True), (7, False), (8, False), (9, False)]


def test_a_batch_with_one_message_read_again_makes_flagged_ones(kafka: MemoryKafka) -> None:
    rewind(kafka, 6, Mark("r1", to=7, back=7))
    with kirby.Topic("raw", group="daily") as raw, kirby.Topic("daily") as daily:
        assert [m.value for m in raw.nexts(timeout=0)] == [6, 7, 8, 9]
        daily.send("sum")
    assert flags(kafka) == [("sum", True)]


def test_while_kafka_does_not_tell_of_rewinds_nothing_is_handed_out(
    kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewind(kafka, 4, Mark("r1", to=7, back=7))
    with kirby.Topic("raw", group="daily") as raw:
        with monkeypatch.context() as patched:
            patched.setattr(raw._reading().receiver, "committed", _unavailable)
            assert raw.next(timeout=0) is None
        message = raw.next(timeout=0)
        assert message is not None
        assert (message.value, message.rerun) == (4, True)


def test_a_pace_lets_no_more_go_than_its_rate() -> None:
    pace, now, handed = Pace(50.0), 100.0, 0
    while now < 102.0:
        if pace.left(now) <= 0:
            count = pace.together(500)
            pace.handed(count, now)
            handed += count
        now += 0.01
    assert 95 <= handed <= 105


def test_a_reader_has_the_pace_of_all_its_partitions() -> None:
    both = pace_of([Mark("r", 1, 1, 2.5), Mark("r", 1, 1, 2.5)])
    assert both is not None
    assert both.rate == 5.0
    assert pace_of([Mark("r", 1, 1)]) is None


def test_a_paced_rewind_hands_out_all_of_it_and_does_not_slow_what_is_live(kafka: MemoryKafka) -> None:
    rewind(kafka, 4, Mark("r1", to=7, back=7, rate=1000))
    with kirby.Topic("raw", group="daily") as raw:
        seen: list[int] = []
        while len(seen) < 6:
            seen += [m.value for m in raw.nexts(timeout=5)]
    assert seen == [4, 5, 6, 7, 8, 9]


def _unavailable(topic: str, partitions: object) -> object:
    raise kirby.KafkaUnavailable("memory", "away")
