"""kirby.Topic on Kafka in memory: what it reads, writes, commits and refuses."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import kirby
import pydantic
import pytest
from kirby.testing import MemoryKafka

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Reading(pydantic.BaseModel):
    station: str
    celsius: float


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKafka]:
    for name in ("KIRBY_TOPIC_PREFIX", "KIRBY_GROUP", "KIRBY_JOB", "KIRBY_ENV", "KIRBY_SLOT", "KIRBY_RERUN"):
        monkeypatch.delenv(name, raising=False)
    with MemoryKafka() as memory:
        yield memory


def committed(kafka: MemoryKafka, group: str, topic: str) -> dict[int, int]:
    return {n: p.offset for (name, n), p in kafka.groups.of(group).commits.items() if name == topic}


def fill(kafka: MemoryKafka, *values: Any, topic: str = "in", key: str | None = None) -> None:
    kafka.create(topic, partitions=1)
    for value in values:
        kafka.add(topic, value, key=key)


def test_a_model_is_checked_both_ways(kafka: MemoryKafka) -> None:
    with kirby.Topic("in", model=Reading, key="station", create=True, partitions=1) as topic:
        topic.send(Reading(station="KSEA", celsius=11.4))
        topic.send({"station": "KSFO", "celsius": "12"})
        first, second = topic.next(timeout=0), topic.next(timeout=0)
        assert first is not None
        assert second is not None
        assert first.value == Reading(station="KSEA", celsius=11.4)
        assert (second.value.celsius, second.key) == (12.0, "KSFO")
        with pytest.raises(kirby.BadValue, match=r"'in'.*celsius: Input should be a valid number"):
            topic.send({"station": "KSFO", "celsius": "warm"}, key="x")
        kafka.add("in", {"station": "KSEA"})
        with pytest.raises(kirby.BadMessage, match=r"in 0:2 .*celsius: Field required"):
            topic.next(timeout=0)


@pytest.mark.parametrize(
    ("serializer", "value"),
    [("msgpack", {"n": [1, b"\x00"]}), ("bytes", b"\x00\xff"), ("json", {"n": [1, None]})],
)
def test_values_come_back_as_they_were(kafka: MemoryKafka, serializer: str, value: Any) -> None:
    with kirby.Topic("in", serializer=serializer, create=True) as topic:
        topic.send(value)
        message = topic.next(timeout=0)
        assert message is not None
        assert message.value == value


def test_a_serializer_of_ones_own(kafka: MemoryKafka) -> None:
    text = kirby.Serializer("text/plain", encode=str.encode, decode=bytes.decode)
    with kirby.Topic("in", serializer=text, create=True) as topic:
        topic.send("hé")
        message = topic.next(timeout=0)
        assert message is not None
        assert (message.value, message.headers["content-type"]) == ("hé", b"text/plain")


def test_an_unknown_serializer_is_one_sentence(kafka: MemoryKafka) -> None:
    with pytest.raises(kirby.KirbyError, match="no serializer 'yaml': use arrow, bytes, json, msgpack"):
        kirby.Topic("in", serializer="yaml")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"value": {1, 2}}, "application/json"),
        ({"value": 1, "key": 7}, "its key is a int"),
        ({"value": 1, "headers": {"n": 5}}, "the header 'n' is not"),
        ({"value": 1, "headers": {f"h{n}": "" for n in range(101)}}, "more than 100 headers"),
        ({"value": 1, "headers": {"h": "x" * 70_000}}, "64 kB"),
        ({"value": {"b": 1}}, "no field 'a'"),
    ],
)
def test_what_cannot_be_sent_is_told_at_once(kafka: MemoryKafka, arguments: dict[str, Any], reason: str) -> None:
    key = "a" if arguments["value"] == {"b": 1} else None
    with kirby.Topic("in", create=True, key=key) as topic, pytest.raises(kirby.BadValue, match=reason):
        topic.send(**arguments)
    assert kafka.records("in") == []


def test_a_bad_message_in_a_batch_is_raised_in_its_turn(kafka: MemoryKafka) -> None:
    fill(kafka, 1, 2, b"{no json", 4)
    with kirby.Topic("in", group="g") as topic:
        assert [m.value for m in topic.nexts(timeout=0)] == [1, 2]
        topic.commit()
        assert committed(kafka, "g", "in") == {0: 2}
        with pytest.raises(kirby.BadMessage, match="0:2"):
            topic.nexts(timeout=0)
        assert [m.value for m in topic.nexts(timeout=0)] == [4]


def test_dates_outside_what_the_topic_keeps_are_refused(kafka: MemoryKafka) -> None:
    kafka.create("in", partitions=1, config={"retention.ms": str(7 * 86_400_000)})
    with kirby.Topic("in") as topic:
        now = datetime.now(UTC)
        topic.send(1, submitted=now - timedelta(days=6))
        with pytest.raises(kirby.OutsideRetention, match="older than its retention of 7 days"):
            topic.send(1, submitted=now - timedelta(days=8))
        with pytest.raises(kirby.OutsideRetention, match="more than an hour ahead"):
            topic.send(1, submitted=now + timedelta(hours=2))
        with pytest.raises(ValueError, match="aware"):
            topic.send(1, submitted=datetime(2026, 1, 1))


def test_between_reads_a_span_and_leaves_the_group_alone(kafka: MemoryKafka) -> None:
    with kirby.Topic("in", group="g", create=True, partitions=2) as topic:
        for minute in range(10):
            topic.send(minute, submitted=NOON + timedelta(minutes=minute))
        assert topic.next(timeout=0) is not None
        topic.commit()
        before = committed(kafka, "g", "in")
        span = topic.between(NOON + timedelta(minutes=2), NOON + timedelta(minutes=5))
        assert sorted(m.value for m in span) == [2, 3, 4]
        assert committed(kafka, "g", "in") == before
        assert list(topic.between(NOON + timedelta(days=1), NOON + timedelta(days=2))) == []


def test_seeking_and_rolling_back(kafka: MemoryKafka) -> None:
    with kirby.Topic("in", group="g", create=True, partitions=1) as topic:
        for minute in range(6):
            topic.send(minute, submitted=NOON + timedelta(minutes=minute))
        assert [m.value for m in topic.nexts(3, timeout=0)] == [0, 1, 2]
        with topic.temporary_rollback(NOON + timedelta(minutes=1)):
            assert [m.value for m in topic.nexts(4, timeout=0)] == [1, 2, 3, 4]
            with pytest.raises(kirby.KirbyError, match="leave the block"):
                topic.commit()
        assert [m.value for m in topic.nexts(timeout=0)] == [3, 4, 5]
        topic.commit()
        assert committed(kafka, "g", "in") == {0: 6}
        topic.seek_at_timestamp(NOON + timedelta(minutes=5))
        assert [m.value for m in topic.nexts(timeout=0)] == [5]


def test_processing_commits_what_is_done(kafka: MemoryKafka) -> None:
    fill(kafka, *range(100))
    with kirby.Topic("in", group="g") as topic, kirby.Topic("out", create=True) as out:
        topic.process(lambda m: out.send(m.value * 2), timeout=0)
    assert sorted(kafka.values("out")) == [n * 2 for n in range(100)]
    assert committed(kafka, "g", "in") == {0: 100}


def test_an_error_stops_the_processing_before_its_message(kafka: MemoryKafka) -> None:
    fill(kafka, 1, 2, 0, 4)
    with kirby.Topic("in", group="g") as topic, pytest.raises(ZeroDivisionError):
        topic.process(lambda m: 1 / m.value, timeout=0)
    assert committed(kafka, "g", "in") == {0: 2}


@pytest.mark.parametrize("threads", [1, 4])
def test_a_poison_message_is_put_aside_after_its_tries(kafka: MemoryKafka, threads: int) -> None:
    fill(kafka, 1, 0, b"{no json", 4, key="k")
    calls: list[int] = []

    def handle(message: kirby.Message[int]) -> None:
        calls.append(message.value)
        _ = 1 / message.value

    with kirby.Topic("in", group="g") as topic:
        topic.process(handle, threads=threads, dead_letters=kirby.DeadLetters(attempts=3), timeout=0)
    assert calls == [1, 0, 0, 0, 4]
    assert committed(kafka, "g", "in") == {0: 4}
    letters = sorted(kafka.records("in.dead-letters"), key=lambda r: r.value_bytes or b"")
    assert [(r.value(), r.key()) for r in letters] == [(b"0", b"k"), (b"{no json", b"k")]
    told = [kafka_json(dict(r.headers() or [])["kirby-dead-letter"]) for r in letters]
    assert [(t["topic"], t["partition"], t["offset"], t["attempt"]) for t in told] == [("in", 0, 1, 3), ("in", 0, 2, 3)]
    assert told[0]["reason"] == "ZeroDivisionError: division by zero"


def kafka_json(data: bytes | None) -> Any:
    import orjson

    return orjson.loads(data or b"null")


def test_what_kafka_ran_into_is_no_dead_letter(kafka: MemoryKafka) -> None:
    fill(kafka, 1)

    def handle(message: kirby.Message[int]) -> None:
        raise kirby.KafkaUnavailable("x", "away")

    with kirby.Topic("in", group="g") as topic, pytest.raises(kirby.KafkaUnavailable):
        topic.process(handle, dead_letters=kirby.DeadLetters(), timeout=0)
    assert kafka.records("in.dead-letters") == []
    assert committed(kafka, "g", "in") == {0: 0}


def test_threads_overlap_keys_keep_their_order_and_commits_wait_for_the_slowest(kafka: MemoryKafka) -> None:
    kafka.create("in", partitions=1)
    for n in range(40):
        kafka.add("in", n, key="slow" if n == 0 else f"k{n % 3}")
    release, done, lock = threading.Event(), [], threading.Lock()
    seen_at_release: dict[int, int] = {}

    def handle(message: kirby.Message[int]) -> None:
        if message.key == "slow":
            assert release.wait(60)
        with lock:
            done.append((message.key, message.value))
            if len(done) == 39 and not release.is_set():
                seen_at_release.update(committed(kafka, "g", "in"))
                release.set()

    with kirby.Topic("in", group="g") as topic:
        topic.process(handle, threads=4, every=0, timeout=0)
    assert seen_at_release == {}
    assert committed(kafka, "g", "in") == {0: 40}
    for key in ("k0", "k1", "k2"):
        mine = [value for name, value in done if name == key]
        assert mine == sorted(mine)
    assert done[-1] == ("slow", 0)


def test_a_failure_among_threads_stops_and_commits_what_is_before_it(kafka: MemoryKafka) -> None:
    fill(kafka, *range(20))

    def handle(message: kirby.Message[int]) -> None:
        if message.value == 7:
            raise ValueError("seven")

    with kirby.Topic("in", group="g") as topic, pytest.raises(ValueError, match="seven"):
        topic.process(handle, threads=3, timeout=0)
    assert committed(kafka, "g", "in") == {0: 7}


def test_what_a_thread_sends_continues_the_trace_of_its_message(kafka: MemoryKafka) -> None:
    fill(kafka, *range(20))
    with kirby.Topic("in", group="g") as topic, kirby.Topic("out", create=True, partitions=1) as out:
        topic.process(lambda m: out.send(m.value), threads=4, timeout=0)
    from kirby import lineage

    for record in kafka.records("out"):
        found = lineage.unpack(dict(record.headers() or [])["kirby"] or b"")
        assert found is not None
        assert found.hops[-1].offset == kafka_json(record.value())


def square(message: kirby.Message[int]) -> int:
    return message.value**2


def test_handlers_that_compute_run_in_processes(kafka: MemoryKafka) -> None:
    fill(kafka, *range(10))
    with kirby.Topic("in", group="g") as topic, kirby.Topic("out", create=True) as out:
        topic.process(square, processes=1, then=lambda message, result: out.send(result), timeout=0)
        with pytest.raises(kirby.KirbyError, match="top of a module"):
            topic.process(lambda m: m, processes=1, timeout=0)
    assert sorted(kafka.values("out")) == [n**2 for n in range(10)]
    assert committed(kafka, "g", "in") == {0: 10}


def test_batches_are_committed_and_a_failed_one_is_read_again(kafka: MemoryKafka) -> None:
    fill(kafka, *range(10))
    batches: list[list[int]] = []

    def handle(messages: list[kirby.Message[int]]) -> None:
        if messages[0].value == 8:
            raise ValueError("eight")
        batches.append([m.value for m in messages])

    with kirby.Topic("in", group="g") as topic, pytest.raises(ValueError, match="eight"):
        topic.process_batches(handle, max_records=4, timeout=0)
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert committed(kafka, "g", "in") == {0: 8}


def test_paused_it_takes_nothing_in_and_stays_a_member(kafka: MemoryKafka) -> None:
    fill(kafka, 1)
    with kirby.Topic("in", group="g") as topic:
        assert topic.next(timeout=0) is not None
        topic.pause()
        kafka.add("in", 2)
        assert topic.next(timeout=0) is None
        assert len(kafka.groups.of("g").members) == 1
        topic.resume()
        message = topic.next(timeout=0)
        assert message is not None
        assert message.value == 2


def test_a_broker_that_is_away_fills_the_buffer_and_then_raises(kafka: MemoryKafka) -> None:
    kafka.buffer = 5
    with kirby.Topic("in", create=True) as topic:
        topic.send(0)
        kafka.available = False
        for n in range(5):
            topic.send(n)
        failing = kafka_sender()
        failing._failures.append(("in", "Local: Message timed out"))
        with pytest.raises(kirby.NotDelivered, match="timed out"):
            topic.send(6)
        with pytest.raises(kirby.KafkaUnavailable, match="5 messages are still waiting"):
            topic.flush(timeout=0)
        kafka.available = True
    assert len(kafka.records("in")) == 6


def kafka_sender() -> Any:
    from kirby import _outbox

    return _outbox.outbox()


def test_an_absent_topic_is_made_only_when_the_script_says_so(kafka: MemoryKafka) -> None:
    with pytest.raises(kirby.TopicAbsent, match="create=True"):
        kirby.Topic("nowhere").send(1)
    assert kafka.names() == []
    with kirby.Topic("here", create=True, partitions=3) as topic:
        topic.send(1)
    assert kafka.partitions("here") == 3


def test_another_environments_topic_and_cluster(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRBY_ENV", "dev")
    monkeypatch.setenv("KIRBY_TOPIC_PREFIX", "dev.")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS_PROD", "elsewhere")
    kafka.add("test.in", "of test")
    kafka.at("elsewhere").add("in", "of prod")
    with kirby.Topic("in", env="test", group="g") as test, kirby.Topic("in", env="prod", group="g") as prod:
        assert [m.value for m in (test.next(timeout=0), prod.next(timeout=0)) if m] == ["of test", "of prod"]
        prod.commit()
    assert committed(kafka.at("elsewhere"), "dev.g", "in")
