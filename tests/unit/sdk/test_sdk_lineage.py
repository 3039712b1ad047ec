"""The packed `kirby` header: golden bytes, hops, and what the runtime writes on each send."""

import asyncio
import itertools
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import kirby
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kirby import _sending, _touches, aio, lineage
from kirby._process import process
from kirby._touches import MOST, Told, Touches
from kirby.testing import MemoryKafka
from kirby.webclient import Answer, Request, answering

from tests.eventually import eventually_sync

TRACE = bytes(range(16))
HOP = lineage.pack_hop(b"\x01\x02\x03\x04\x05\x06\x07\x08", 3, 1_000_000)
GOLDEN = "01010000000102030405060708090a0b0c0d0e0f047465737401020304050607080000000300000000000f4240"


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> MemoryKafka:
    for name in ("KIRBY_TOPIC_PREFIX", "KIRBY_GROUP", "KIRBY_JOB", "KIRBY_ENV", "KIRBY_RERUN"):
        monkeypatch.delenv(name, raising=False)
    return MemoryKafka()


def header_of(kafka: MemoryKafka, topic: str, number: int = 0) -> lineage.Lineage:
    packed = dict(kafka.records(topic)[number].headers() or [])["kirby"]
    assert packed is not None
    unpacked = lineage.unpack(packed)
    assert unpacked is not None
    return unpacked


def test_the_bytes_are_these_for_ever() -> None:
    packed = lineage.begin(TRACE, HOP, flags=lineage.RERUN, origin="test")
    assert packed.hex() == GOLDEN
    assert lineage.unpack(bytes.fromhex(GOLDEN)) == lineage.Lineage(
        trace=TRACE,
        rerun=True,
        joined=False,
        dropped=0,
        origin="test",
        hops=(lineage.Hop(b"\x01\x02\x03\x04\x05\x06\x07\x08", 3, 1_000_000),),
    )


@given(count=st.integers(1, 80), origin=st.sampled_from(["", "prod", "é" * 300]), flags=st.integers(0, 3))
def test_the_newest_32_hops_are_kept_and_the_others_counted(count: int, origin: str, flags: int) -> None:
    packed: bytes | None = lineage.begin(TRACE, lineage.pack_hop(b"process0", -1, -1), flags=flags, origin=origin)
    for number in range(1, count):
        assert packed is not None
        packed = lineage.forward(packed, lineage.pack_hop(b"process%d" % (number % 10), number, number * 7))
    assert packed is not None
    found = lineage.unpack(packed)
    assert found is not None
    assert (found.trace, found.rerun, found.joined) == (TRACE, bool(flags & 1), bool(flags & 2))
    assert found.dropped == max(0, count - lineage.MOST_HOPS)
    assert [hop.partition for hop in found.hops][-1] == (count - 1 or -1)
    assert len(found.hops) == min(count, lineage.MOST_HOPS)
    assert len(packed) <= 21 + 255 + 32 * 20


@given(st.binary(max_size=120))
def test_what_is_not_ours_is_never_an_error(junk: bytes) -> None:
    assert lineage.unpack(junk) is None or junk[0] == 1
    assert lineage.forward(junk, HOP) is None or junk[0] == 1


def test_a_flag_and_an_origin_are_added_and_an_origin_stays() -> None:
    first = lineage.begin(TRACE, HOP)
    second = lineage.forward(first, HOP, flags=lineage.RERUN, origin="prod")
    assert second is not None
    third = lineage.forward(second, HOP, origin="test")
    assert third is not None
    assert lineage.is_rerun(third)
    found = lineage.unpack(third)
    assert found is not None
    assert (found.origin, len(found.hops), found.rerun) == ("prod", 3, True)


def test_a_message_made_from_another_continues_its_trace(kafka: MemoryKafka) -> None:
    with kafka, kirby.Topic("a", create=True, partitions=1) as a, kirby.Topic("b", create=True, partitions=1) as b:
        a.send("first")
        a.send("second")
        for message in a.iterate(timeout=0):
            b.send(message.value)
        first, second = header_of(kafka, "b", 0), header_of(kafka, "b", 1)
    assert first.trace == header_of(kafka, "a", 0).trace != second.trace
    assert [(hop.partition, hop.offset) for hop in first.hops] == [(-1, -1), (0, 0)]
    assert [(hop.partition, hop.offset) for hop in second.hops] == [(-1, -1), (0, 1)]
    assert first.hops[0].process != first.hops[1].process == second.hops[1].process


def test_after_the_loop_nothing_is_in_hand(kafka: MemoryKafka) -> None:
    with kafka, kirby.Topic("a", create=True) as a, kirby.Topic("b", create=True, partitions=1) as b:
        a.send(1)
        list(a.iterate(timeout=0))
        b.send(2)
        assert len(header_of(kafka, "b").hops) == 1


def test_what_is_sent_about_a_bad_message_is_not_made_from_the_one_before(kafka: MemoryKafka) -> None:
    with kafka, kirby.Topic("a", create=True, partitions=1) as a, kirby.Topic("b", create=True, partitions=1) as b:
        a.send(1)
        a.send(b"{")
        assert a.next(timeout=0) is not None
        with pytest.raises(kirby.BadMessage):
            a.next(timeout=0)
        b.send("a bad one")
        assert len(header_of(kafka, "b").hops) == 1


def test_source_names_what_a_message_is_made_from(kafka: MemoryKafka) -> None:
    with kafka, kirby.Topic("a", create=True, partitions=1) as a, kirby.Topic("b", create=True, partitions=1) as b:
        a.send(1)
        a.send(2)
        one, _two = list(a.iterate(timeout=0))
        b.send(3, source=one)
        assert header_of(kafka, "b").hops[-1].offset == 0


def test_a_forged_header_is_replaced(kafka: MemoryKafka) -> None:
    with kafka, kirby.Topic("a", create=True, partitions=1) as a:
        a.send(1, headers={"kirby": b"forged", "mine": "kept"})
        headers = kafka.records("a")[0].headers()
        assert headers is not None
        assert [name for name, _ in headers] == ["kirby", "content-type", "mine"]
        assert len(header_of(kafka, "a").hops) == 1


def test_a_header_that_nobody_understands_begins_a_new_trace(kafka: MemoryKafka) -> None:
    with kafka, kirby.Topic("a", create=True, partitions=1) as a, kirby.Topic("b", create=True, partitions=1) as b:
        kafka.add("a", 1, headers={"kirby": b"\xff from the future"})
        message = a.next(timeout=0)
        assert message is not None
        assert message.lineage is None
        assert not message.rerun
        b.send(message.value)
        assert len(header_of(kafka, "b").hops) == 1


def test_several_messages_begin_a_trace_and_their_offsets_are_told(kafka: MemoryKafka) -> None:
    with kafka, kirby.Topic("a", create=True, partitions=1) as a, kirby.Topic("b", create=True, partitions=1) as b:
        kafka.create(".kirby.lineage", partitions=1)
        rerun = lineage.begin(TRACE, HOP, flags=lineage.RERUN)
        kafka.create("a", partitions=1)
        kafka.add("a", 1, headers={"kirby": rerun})
        a.send(2)
        assert len(a.nexts(timeout=0)) == 2
        b.send(3)
        b.send(4)
        found = header_of(kafka, "b", 0)
        told = [v for v in kafka.values(".kirby.lineage") if v["type"] == "inputs.joined.v1"]
    assert (found.joined, found.rerun, [(h.partition, h.offset) for h in found.hops]) == (True, True, [(-1, -1)])
    assert [(t["trace"], t["inputs"]) for t in told] == [
        (found.trace.hex(), [{"topic": "a", "partition": 0, "from": 0, "to": 2}])
    ]


def test_a_process_is_announced_once_per_topic_it_reads(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"JOB": "weather", "ENV": "prod", "RUN_ID": "r-1", "ATTEMPT": "2"}.items():
        monkeypatch.setenv(f"KIRBY_{name}", value)
    with kafka, kirby.Topic("a", create=True, partitions=1) as a, kirby.Topic("b", create=True, partitions=1) as b:
        kafka.create(".kirby.lineage", partitions=1)
        for n in range(3):
            a.send(n)
        for message in a.iterate(timeout=0):
            b.send(message.value)
        told = kafka.values(".kirby.lineage")
        keys = [r.key() for r in kafka.records(".kirby.lineage")]
        hops = header_of(kafka, "b").hops
    assert [(t["type"], t["reads"], t["job"], t["run_id"], t["attempt"]) for t in told] == [
        ("process.announced.v1", "", "weather", "r-1", 2),
        ("process.announced.v1", "a", "weather", "r-1", 2),
    ]
    assert keys == [hop.process.hex().encode() for hop in hops]
    assert json.dumps(told)


def test_a_rerun_flags_what_it_sends(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRBY_RERUN", "1")
    with kafka, kirby.Topic("a", create=True, partitions=1) as a:
        a.send(1)
        message = a.next(timeout=0)
        assert message is not None
        assert message.rerun


def test_a_message_of_another_environment_keeps_where_it_was_born(
    kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIRBY_ENV", "test")
    monkeypatch.setenv("KIRBY_TOPIC_PREFIX", "test.")
    with (
        kafka,
        kirby.Topic("a", env="prod", group="g") as a,
        kirby.Topic("b", create=True, partitions=1) as b,
    ):
        kafka.add("a", 1)
        message = a.next(timeout=0)
        assert message is not None
        b.send(message.value)
        assert header_of(kafka, "test.b").origin == "prod"
        with pytest.raises(kirby.KirbyError, match="only read from here"):
            a.send(1)


def touched(kafka: MemoryKafka) -> list[dict[str, object]]:
    """What was told as touched, without its times."""
    told = [t for v in kafka.values(".kirby.lineage") if v["type"] == "process.touched.v1" for t in v["touched"]]
    assert all(t.pop("since_ms") <= t.pop("until_ms") for t in told)
    return told


def test_what_was_sent_is_summed_up_by_input_partition(kafka: MemoryKafka) -> None:
    with kafka, kirby.Topic("a", create=True, partitions=2) as a, kirby.Topic("b", create=True, partitions=1) as b:
        kafka.create(".kirby.lineage", partitions=1)
        for n in range(6):
            kafka.add("a", n, partition=n % 2)
        for message in a.iterate(timeout=0):
            if message.offset:
                b.send(message.value)
        hops = [header_of(kafka, "b", n).hops[-1] for n in range(4)]
    process, *others = {hop.process.hex() for hop in hops}
    assert not others
    keyed = [r.key() for r in kafka.records(".kirby.lineage")]
    assert keyed == [process.encode()] * 2
    same = {"direction": "out", "kind": "topic", "name": "b", "from": 1, "to": 3, "count": 2}
    assert touched(kafka) == [{**same, "partition": 0}, {**same, "partition": 1}]


def test_files_calls_and_the_time_that_a_message_was_given_are_told(
    kafka: MemoryKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    monkeypatch.chdir(tmp_path)
    with kafka, kirby.Topic("a", create=True, partitions=1) as a:
        kafka.create(".kirby.lineage", partitions=1)
        kafka.add("a", 1)
        with answering(lambda request: Answer(200, b"1")), kirby.WebClient("met", "https://met.test") as met:
            met.get()
            assert a.next(timeout=0) is not None
            met.post("x", 1)
        kirby.File("report.json").write_json([1])
        a.send(2, submitted=long_ago)
    (sent,) = [t for v in kafka.values(".kirby.lineage") for t in v.get("touched", ()) if t["kind"] == "topic"]
    assert sent["since_ms"] == long_ago.timestamp() * 1000
    assert {(t["direction"], t["kind"], t["name"], t["partition"], t["from"], t["to"]) for t in touched(kafka)} == {
        ("in", "web", "met", -1, -1, -1),
        ("out", "web", "met", 0, 0, 1),
        ("out", "file", f"file://{tmp_path}/report.json", 0, 0, 1),
        ("out", "topic", "a", 0, 0, 1),
    }
    announced = [v["reads"] for v in kafka.values(".kirby.lineage") if v["type"] == "process.announced.v1"]
    assert announced == ["a", ""]


def test_sums_are_told_after_a_second_and_at_once_when_there_are_many(kafka: MemoryKafka) -> None:
    with kafka, kirby.Topic("a", create=True, partitions=1) as a:
        kafka.create(".kirby.lineage", partitions=1)
        a.send(0)
        eventually_sync(lambda: [t["count"] for t in touched(kafka)] == [1], what="the timer's telling")
        for n in range(2 * MOST + 1):
            a.send(n)
        counts = [int(str(t["count"])) for t in touched(kafka)]
        assert max(counts) <= MOST
        assert sum(counts) >= 2 * MOST
        eventually_sync(lambda: sum(int(str(t["count"])) for t in touched(kafka)) == 2 * MOST + 2, what="the rest")


def test_no_message_is_older_than_what_is_told_of_it(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(1000)
    kafka.now_ms = lambda: next(clock)
    monkeypatch.setattr(_touches, "_now_ms", lambda: next(clock))
    with kafka, kirby.Topic("a", create=True, partitions=1) as a:
        kafka.create(".kirby.lineage", partitions=1)
        for _ in range(3):
            a.send(1)
            process().tell_touches()
        told = [t for v in kafka.values(".kirby.lineage") for t in v.get("touched", ())]
        for record, sums in zip(kafka.records("a"), told, strict=True):
            assert sums["since_ms"] <= record.at_ms <= sums["until_ms"]


def test_every_touch_of_many_threads_is_told_once() -> None:
    told: list[Told] = []
    touches = Touches(lambda process, touched: told.extend(touched))
    hop = lineage.pack_hop(b"process1", 0, 7)

    def send() -> None:
        for n in range(3000):
            (touches.topics.get("t") or touches.sending("t")).append(hop)
            if n % 300 == 0:
                touches.tell()
                touches.note(hop, "file", "f")

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(send) for _ in range(4)]:
            done.result()
    touches.tell()
    touches.end()
    counts = {name: sum(int(str(t["count"])) for t in told if t["name"] == name) for name in ("t", "f")}
    assert counts == {"t": 12_000, "f": 40}
    assert {(t["partition"], t["from"], t["to"]) for t in told} == {(0, 7, 8)}


def test_nothing_is_told_where_nobody_would_read_it(kafka: MemoryKafka) -> None:
    with kafka, kirby.Topic("a", create=True, partitions=1) as a:
        a.send(1)
        assert kafka.names() == ["a"]


def test_inputs_of_several_topics_are_told_by_topic(kafka: MemoryKafka) -> None:
    with kafka, kirby.Topic("a", create=True, partitions=1) as a, kirby.Topic("b", create=True, partitions=1) as b:
        kafka.create(".kirby.lineage", partitions=1)
        for topic in ("a", "a", "b"):
            kafka.add(topic, 1, partition=0)
        one, two = list(a.iterate(timeout=0)), list(b.iterate(timeout=0))
        b.send(2, source=[*one, *two])
        (told,) = [v for v in kafka.values(".kirby.lineage") if v["type"] == "inputs.joined.v1"]
    assert [tuple(i.values()) for i in told["inputs"]] == [("a", 0, 0, 2), ("b", 0, 0, 1)]


def test_with_tracing_messages_and_calls_carry_a_traceparent(
    kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str | None] = []

    def answer(request: Request) -> Answer:
        calls.append(request.headers.get("traceparent"))
        return Answer(200, b"1")

    monkeypatch.setattr(_sending, "tracing", True)
    with kafka, kirby.Topic("a", create=True, partitions=1) as a, answering(answer):
        a.send(1)
        a.send(2, headers={"traceparent": "00-of-their-own"})
        message = a.next(timeout=0)
        assert message is not None
        kirby.WebClient("met", "https://met.test").get()
        first, second = (dict(r.headers() or []) for r in kafka.records("a"))
    trace = header_of(kafka, "a").trace.hex()
    assert re.fullmatch(rf"00-{trace}-[0-9a-f]{{16}}-01", (first["traceparent"] or b"").decode())
    assert second["traceparent"] == b"00-of-their-own"
    assert [call is not None and call.startswith(f"00-{trace}-") for call in calls] == [True]


def test_threads_and_tasks_each_have_their_own_message_in_hand(kafka: MemoryKafka) -> None:
    with kafka, kirby.Topic("in", group="g") as a, kirby.Topic("out", create=True, partitions=1) as out:
        for n in range(40):
            kafka.add("in", n, partition=n % 4)
        a.process(lambda message: out.send(message.place), threads=4, timeout=0)
        a.close()

        async def again() -> None:
            async def handle(message: kirby.Message[int]) -> None:
                await asyncio.sleep(0)
                out.send(message.place)

            async with aio.Topic("in", group="h") as b:
                await b.process(handle, concurrency=8, timeout=0)

        asyncio.run(again())
        records = kafka.records("out")
        assert len(records) == 80
        for number, record in enumerate(records):
            (hop,) = header_of(kafka, "out", number).hops
            assert f"{hop.partition}:{hop.offset}" == json.loads(record.value_bytes or b"")
