"""A run of a shadow rewind, with Kafka in memory: what it reads, where it writes, how it compares, its promotion."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import kirby
import pytest
from kirby.errors import KirbyError
from kirby.replaying.kafka import KafkaTarget
from kirby.replaying.ports import Copied, Extent
from kirby.rewinding import Mark
from kirby.shadowing import names
from kirby.shadowing.comparing import Process
from kirby.shadowing.promoting import NotPromoted, promote
from kirby.shadowing.shadow import Range, Shadow, comparison
from kirby.state.errors import StateConflict, StateError
from kirby.testing import MemoryKafka
from kirby.transport import Position

ID = "0f1e2d3c-0000-4000-8000-000000000000"
NUMBER = "0f1e2d3c"
DAILY = f".kirby.shadow.{NUMBER}.topic.daily"
LOG = f".kirby.shadow.{NUMBER}.state.records"
GROUP = f"daily.shadow-{NUMBER}"
FROM = datetime.now(UTC) - timedelta(hours=1)
VARIABLES = ("KIRBY_TOPIC_PREFIX", "KIRBY_GROUP", "KIRBY_JOB", "KIRBY_ENV", "KIRBY_RERUN", "KIRBY_SLOT", "KIRBY_SHADOW")


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKafka]:
    """Ten messages, six of which were processed live: twice their number, and the newest number in a State."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with MemoryKafka() as kafka:
        kafka.create("raw", partitions=1)
        kafka.create("daily", partitions=2)
        for number in range(10):
            kafka.add("raw", number, partition=0)
        process(lambda value: value * 2, upto=6)
        yield kafka


@pytest.fixture
def shadow(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> Shadow:
    """Of the messages 2 to 5."""
    kafka.groups.of(GROUP).commits["raw", 0] = Position("raw", 0, 2, Mark(ID, to=6, back=6).text())
    monkeypatch.setenv("KIRBY_SHADOW", NUMBER)
    monkeypatch.setenv("KIRBY_RERUN", "1")
    # As in a new process, which looks at its variables anew.
    kirby._process.forget()
    return Shadow(NUMBER, "", "", "", kafka)


def process(made: Callable[[int], int], *, upto: int = 100) -> list[int]:
    """A processor: returns what it has read."""
    read = []
    with (
        kirby.Topic("raw", group="daily") as raw,
        kirby.Topic("daily") as daily,
        kirby.State("records", create=True, partitions=2) as records,
    ):
        for message in raw.iterate(timeout=0):
            read.append(message.value)
            daily.send(made(message.value), key=f"k{message.value}")
            records[f"r{message.value % 2}"] = made(message.value)
            raw.commit()
            if message.value + 1 == upto:
                break
    return read


def compared(shadow: Shadow, monkeypatch: pytest.MonkeyPatch, outputs: Sequence[str] = ()) -> dict[str, Any]:
    monkeypatch.delenv("KIRBY_SHADOW")
    about = Range(round(FROM.timestamp() * 1000), {("raw", 0): (2, 6)}, outputs)
    return comparison(shadow, about, whose=lambda asked: {})


def test_it_reads_its_range_and_writes_beside_the_originals(kafka: MemoryKafka, shadow: Shadow) -> None:
    before = kafka.values("daily"), len(kafka.records(".kirby.state.records.log"))
    assert process(lambda value: value * 2) == [2, 3, 4, 5]
    assert (kafka.values("daily"), len(kafka.records(".kirby.state.records.log"))) == before
    assert sorted(kafka.values(DAILY)) == [4, 6, 8, 10]
    assert kafka.partitions(DAILY) == 2
    assert len(kafka.records(LOG)) == 4
    place = kafka.groups.of(GROUP).commits["raw", 0]
    assert (place.offset, place.metadata) == (6, "")
    assert all(kirby.lineage.is_rerun(dict(r.headers() or [])["kirby"] or b"") for r in kafka.records(DAILY))


def test_once_it_is_at_its_end_it_waits(kafka: MemoryKafka, shadow: Shadow) -> None:
    process(lambda value: value)
    assert process(lambda value: value) == [], "a run that begins anew there reads nothing either"


def test_a_topic_that_the_rewind_is_not_about_is_not_read(kafka: MemoryKafka, shadow: Shadow) -> None:
    kafka.add("other", 1)
    with kirby.Topic("other", group="daily") as other:
        assert list(other.iterate(timeout=0)) == []


def test_a_topic_that_there_is_not_is_made_beside_only(kafka: MemoryKafka, shadow: Shadow) -> None:
    with kirby.Topic("new", create=True, partitions=3) as new:
        new.send(1)
    assert kafka.partitions("new") is None
    assert kafka.partitions(f".kirby.shadow.{NUMBER}.topic.new") == 3


def test_a_topic_whose_name_leaves_no_room_beside_it_is_refused(kafka: MemoryKafka, shadow: Shadow) -> None:
    name = "n" * 230
    kafka.create(name)
    with kirby.Topic(name) as topic, pytest.raises(KirbyError, match="has too long a name for a shadow rewind"):
        topic.send(1)


def test_dead_letters_go_beside_theirs(kafka: MemoryKafka, shadow: Shadow) -> None:
    def fails(message: kirby.Message[int]) -> None:
        raise ValueError(message.value)

    with kirby.Topic("raw", group="daily") as raw:
        raw.process(fails, dead_letters=kirby.DeadLetters(), timeout=0)
    assert kafka.partitions("raw.dead-letters") is None
    assert sorted(kafka.values(f".kirby.shadow.{NUMBER}.topic.raw.dead-letters")) == [2, 3, 4, 5]


def test_a_state_is_read_through_what_was_set_in_the_shadow(kafka: MemoryKafka, shadow: Shadow) -> None:
    with kirby.State("records") as records:
        assert (records["r1"], records.version("r1")) == (10, 3)
        with pytest.raises(StateConflict):
            records.set("r1", 0, expect_version=1)
        assert records.set("r1", 0, expect_version=3) == 1, "versions of the overlay count from 1"
        assert records.update("r1", lambda value: value + 1) == 1
        assert sorted(records.items()) == [("r0", 8), ("r1", 1)]
        assert [v.value for v in records.history("r1")] == [2, 6, 10, 0, 1]
        del records["r0"]
        assert "r0" not in records
    assert len(kafka.records(".kirby.state.records.log")) == 6


def test_in_transactions_it_reads_its_range_and_writes_beside(kafka: MemoryKafka, shadow: Shadow) -> None:
    kafka.logs["raw"].partitions.append([])
    before = kafka.values("daily")
    with kirby.Topic("raw", group="daily") as raw, kirby.Topic("daily") as daily:
        for message in raw.exactly_once(timeout=0.2):
            daily.send(message.value)
    assert (sorted(kafka.values(DAILY)), kafka.values("daily")) == ([2, 3, 4, 5], before)
    assert kafka.groups.of(GROUP).commits["raw", 0].offset == 6


def test_its_windows_are_kept_beside_those_of_the_group(kafka: MemoryKafka, shadow: Shadow) -> None:
    spans = kirby.Tumbling(timedelta(minutes=5))
    with kirby.Topic("raw", group="daily") as raw:
        list(raw.windows(spans, initial=int, fold=lambda total, message: total + message.value, timeout=0.2))
    made = [name for name in kafka.names() if "windows" in name]
    assert made == [f".kirby.windows.{GROUP}.raw"]
    assert names.is_of(made[0], NUMBER, prefix="")


def test_within_a_rollback_it_reads_what_is_before_its_range_and_then_goes_on(
    kafka: MemoryKafka, shadow: Shadow
) -> None:
    with kirby.Topic("raw", group="daily") as raw:
        assert [m.value for m in raw.iterate(timeout=0)] == [2, 3, 4, 5]
        with raw.temporary_rollback(FROM):
            assert [m.value for m in raw.iterate(timeout=0)] == [0, 1, 2, 3, 4, 5]
        assert list(raw.iterate(timeout=0)) == []


def test_what_is_read_beside_all_groups_is_read_as_it_is(kafka: MemoryKafka, shadow: Shadow) -> None:
    with kirby.Topic("raw") as raw:
        assert [m.value for m in raw.iterate(timeout=0)] == list(range(10))


def test_an_owned_state_is_refused(kafka: MemoryKafka, shadow: Shadow) -> None:
    with kirby.Topic("raw", group="daily") as raw, pytest.raises(StateError, match="rewind it in place"):
        kirby.OwnedState("hits", raw, create=True)


def test_what_comes_out_alike_is_the_same(kafka: MemoryKafka, shadow: Shadow, monkeypatch: pytest.MonkeyPatch) -> None:
    process(lambda value: value * 2)
    found = compared(shadow, monkeypatch)
    assert found["topics"] == [
        {"topic": "daily", "same": 4, "changed": 0, "only_original": 0, "only_shadow": 0, "examples": []}
    ]
    assert found["states"] == [{"state": "records", "same": 2, "changed": 0, "only_shadow": 0, "examples": []}]


def test_what_differs_is_shown(kafka: MemoryKafka, shadow: Shadow, monkeypatch: pytest.MonkeyPatch) -> None:
    process(lambda value: value * 2 if value % 2 else 0)
    found = compared(shadow, monkeypatch)
    (topic,), (state,) = found["topics"], found["states"]
    assert (topic["same"], topic["changed"]) == (2, 2)
    assert [(e["key"], e["original"]["value"], e["shadow"]["value"]) for e in topic["examples"]] == [
        ("k2", "4", "0"),
        ("k4", "8", "0"),
    ]
    assert state["examples"] == [{"kind": "changed", "key": "r0", "original": "8", "shadow": "0"}]


def test_a_state_that_is_only_read_is_not_compared(
    kafka: MemoryKafka, shadow: Shadow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kirby.State("records") as records:
        assert records["r0"] == 8
    assert compared(shadow, monkeypatch)["states"] == []


def test_a_topic_that_is_not_written_any_more_has_only_originals(
    kafka: MemoryKafka, shadow: Shadow, monkeypatch: pytest.MonkeyPatch
) -> None:
    (topic,) = compared(shadow, monkeypatch, ["daily"])["topics"]
    assert (topic["topic"], topic["only_original"], topic["same"]) == ("daily", 4, 0)


def test_promoted_it_is_part_of_the_originals_once(
    kafka: MemoryKafka, shadow: Shadow, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(lambda value: value * 3)
    monkeypatch.delenv("KIRBY_SHADOW")
    before = len(kafka.records("daily"))
    for _ in range(2):
        promote(shadow, rewind=ID, told=lambda line: None)
    promoted = [r for r in kafka.records("daily") if kirby.lineage.is_rerun(dict(r.headers() or [])["kirby"] or b"")]
    assert len(kafka.records("daily")) == before + 4
    assert sorted(int(r.value() or b"") for r in promoted) == [6, 9, 12, 15]
    beside = {(r.partition(), r.key(), dict(r.headers() or [])["kirby"]) for r in kafka.records(DAILY)}
    assert {(r.partition(), r.key(), dict(r.headers() or [])["kirby"]) for r in promoted} == beside
    with kirby.State("records") as records:
        assert [(v.value, v.rerun) for v in records.history("r1")] == [
            (2, False), (6, False), (10, False), (15, True),
        ]  # fmt: skip


def test_who_is_killed_while_promoting_doubles_nothing(
    kafka: MemoryKafka, shadow: Shadow, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(lambda value: value * 3)
    monkeypatch.delenv("KIRBY_SHADOW")
    put = KafkaTarget.put

    def killed_after_the_first(
        self: KafkaTarget, extent: Extent, partition: int, records: Sequence[Copied], following: int
    ) -> None:
        if partition == 1:
            raise RuntimeError("killed")
        put(self, extent, partition, records, following)

    monkeypatch.setattr(KafkaTarget, "put", killed_after_the_first)
    with pytest.raises(RuntimeError, match="killed"):
        promote(shadow, rewind=ID, told=lambda line: None)
    monkeypatch.setattr(KafkaTarget, "put", put)
    promote(shadow, rewind=ID, told=lambda line: None)
    assert sorted(kafka.values("daily")) == sorted([*(2 * n for n in range(6)), 6, 9, 12, 15])


def test_a_topic_that_got_other_partitions_is_not_promoted_to(
    kafka: MemoryKafka, shadow: Shadow, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(lambda value: value)
    monkeypatch.delenv("KIRBY_SHADOW")
    kafka.delete("daily")
    kafka.create("daily", partitions=5)
    with pytest.raises(NotPromoted, match="has 5 partitions by now and had 2"):
        promote(shadow, rewind=ID, told=lambda line: None)
    assert kafka.values("daily") == []


def test_messages_of_other_jobs_are_not_compared(
    kafka: MemoryKafka, shadow: Shadow, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(lambda value: value * 2)
    monkeypatch.delenv("KIRBY_SHADOW")
    about = Range(round(FROM.timestamp() * 1000), {("raw", 0): (2, 6)})
    of_others = comparison(
        Shadow(NUMBER, "daily", "prod", "", kafka), about,
        whose=lambda asked: {one: Process("another", "prod", "raw") for one in asked},
    )  # fmt: skip
    assert [topic["same"] for topic in of_others["topics"]] == [0]
