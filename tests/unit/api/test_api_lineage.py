"""Lineage: what is told is projected, summed up and searched; the graph shows what the caller may see."""

import json
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kirby import lineage
from kirby_api.access.permissions import Caller, Grant, Permission
from kirby_api.lineage.finding import look, wanted_in, wanted_of
from kirby_api.lineage.graph import Builder, Graph, around, of_environment
from kirby_api.lineage.projection import MOST_IN_SPAN, MOST_MS, Projected, Who, place_of, project
from kirby_api.lineage.query import Sight, maker
from kirby_api.lineage.told import Announced, ProcessTouched, Unreadable, read_told
from kirby_api.logs.ports import Bounds
from kirby_api.messages.ports import Partition
from kirby_common.ports import Record

P1, P2 = b"process1", b"process2"
AT = datetime(2026, 1, 1, tzinfo=UTC)
MS = round(AT.timestamp() * 1000)


def touched(
    *, first: int, beyond: int, count: int = 1, since: int = 0, until: int = 0, kind: str = "topic", name: str = "out"
) -> dict[str, Any]:
    return {
        "direction": "out", "kind": kind, "name": name, "partition": 0, "from": first, "to": beyond,
        "count": count, "since_ms": MS + since, "until_ms": MS + until,
    }  # fmt: skip


def tell(*some: dict[str, Any], process: bytes = P1) -> ProcessTouched:
    return ProcessTouched.model_validate({"type": "process.touched.v1", "process": process.hex(), "touched": some})


def announced(process: bytes = P1, **more: str) -> Announced:
    fields = {"job": "daily", "env": "prod", "version": "1.2", "reads": "in"} | more
    told = {"type": "process.announced.v1", "process": process.hex(), "at": AT.isoformat(), **fields}
    return Announced.model_validate(told)


def rows_of(made: Projected) -> list[dict[str, Any]]:
    return [*made.full, *made.spans.values()]


@pytest.mark.parametrize(
    "value",
    [b"", b"{", b"[]", b'{"type": "from.the.future.v9"}', b'{"type": "process.touched.v1", "process": "x"}', b"\xff"],
)
def test_what_can_not_be_read_is_never_anything_else_than_that(value: bytes) -> None:
    with pytest.raises(Unreadable):
        read_told(Record("t", 0, 0, None, value, 0))


def test_names_can_be_kept_in_a_table_whatever_they_are() -> None:
    told = json.dumps(announced().model_dump(mode="json") | {"job": "a\0" + "b" * 9000}).encode()
    read = read_told(Record("t", 0, 0, None, told, 0))
    assert isinstance(read, Announced)
    assert (read.job[:2], len(read.job)) == ("ab", 500 - 1) or (read.job[:2], len(read.job)) == ("ab", 500)


def test_a_job_that_tells_of_itself_has_its_edges() -> None:
    made = project([announced(), tell(touched(first=3, beyond=9, count=4))], known={}, spans={})
    assert {(k[1], k[2], k[3], k[5]): e.count for k, e in made.edges.items()} == {
        ("daily", "1.2", "in", "in"): 0,
        ("daily", "1.2", "out", "out"): 4,
    }
    (row,) = rows_of(made)
    assert (row["reads"], row["from_offset"], row["to_offset"], row["count"]) == ("in", 3, 9, 4)


def test_a_process_that_nobody_knows_has_a_span_and_no_edge() -> None:
    made = project([tell(touched(first=3, beyond=9))], known={}, spans={})
    assert (made.edges, [row["reads"] for row in rows_of(made)]) == ({}, [None])


def test_files_are_in_the_graph_by_folder_and_in_spans_by_name() -> None:
    files = [touched(first=n, beyond=n + 1, kind="file", name=f"s3://b/day/{n}.json") for n in range(3)]
    made = project([tell(*files)], known={P1: Who("prod", "j", "1", "in")}, spans={})
    assert {(k[3], k[5]): e.count for k, e in made.edges.items()} == {("in", "in"): 0, ("out", "s3://b/day/"): 3}
    assert len(rows_of(made)) == 3
    assert [place_of("file", name) for name in ("file:///a.csv", "report.csv")] == ["file:///", "report.csv"]
    assert place_of("web", "https://a/b") == "https://a/b"


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20), st.integers(1, 1500), st.integers(0, 9000)), max_size=30)
)
def test_every_touch_lies_in_a_span_and_none_is_counted_twice(steps: list[tuple[int, int, int, int]]) -> None:
    offset, now, told = 0, 0, []
    for gap, width, count, pause in steps:
        told.append(touched(first=offset + gap, beyond=offset + gap + width, count=count, since=now, until=now + 900))
        offset, now = offset + gap + width, now + pause
    known, spans = {P1: Who("prod", "j", "1", "in")}, dict[Any, dict[str, Any]]()
    rows: list[dict[str, Any]] = []
    for each in told:
        made = project([tell(each)], known=known, spans=spans)
        rows, spans = rows + made.full, made.spans
    rows += spans.values()
    assert sum(row["count"] for row in rows) == sum(t["count"] for t in told)
    for row in rows:
        assert row["count"] <= MOST_IN_SPAN
        assert row["until_ms"] - row["since_ms"] <= MOST_MS
    for each in told:
        assert any(
            row["from_offset"] <= each["from"] and each["to"] <= row["to_offset"]
            and row["since_ms"] <= each["since_ms"] and each["until_ms"] <= row["until_ms"]
            for row in rows
        )  # fmt: skip


@dataclass
class FakeMessages:
    """A topic of two partitions."""

    records: Mapping[int, list[Record]]
    looked_at: int = 0

    async def topics(self) -> Mapping[str, int]:
        return {"out": len(self.records)}

    async def bounds(self, topics: Sequence[str]) -> Mapping[Partition, Bounds]:
        return {("out", n): Bounds(0, len(some)) for n, some in self.records.items()}

    async def offsets_at(self, partitions: Mapping[Partition, int]) -> Mapping[Partition, int]:
        found = {
            p: next((r.offset for r in self.records[p[1]] if r.timestamp_ms >= ms), None)
            for p, ms in partitions.items()
        }
        return {p: offset for p, offset in found.items() if offset is not None}

    async def read(self, spans: Mapping[Partition, Bounds]) -> AsyncGenerator[Sequence[Record]]:
        for (_, number), span in spans.items():
            for at in range(span.begin, span.end, 10):
                some = self.records[number][at : min(at + 10, span.end)]
                self.looked_at += len(some)
                yield some

    async def find(
        self, spans: Mapping[Partition, Bounds], header: Callable[[bytes], bool]
    ) -> AsyncGenerator[tuple[int, Sequence[Record]]]:
        async for some in self.read(spans):
            yield len(some), [r for r in some if header(r.headers["kirby"])]

    async def follow(self, offsets: Mapping[Partition, int]) -> AsyncGenerator[Sequence[Record]]:
        yield ()


def world(seed: int, *, sends: int) -> tuple[FakeMessages, SimpleNamespace, dict[int, set[tuple[int, int]]]]:
    """What P1 has made from partition 0 of its input, some out of order, among what P2 has made; and its one span."""
    chance = random.Random(seed)
    records: dict[int, list[Record]] = {0: [], 1: []}
    made: dict[int, set[tuple[int, int]]] = {}
    for n in range(sends * 3):
        mine = n % 3 == 0
        offset = max(0, n // 3 + chance.randint(-2, 2))
        header = lineage.begin(bytes(16), lineage.pack_hop(P1 if mine else P2, 0, offset))
        partition = chance.randint(0, 1)
        at = len(records[partition])
        records[partition].append(Record("out", partition, at, None, b"", MS + n, {"kirby": header}))
        if mine:
            made.setdefault(offset, set()).add((partition, at))
    count = sum(len(some) for some in made.values())
    span = SimpleNamespace(
        name="out", process=P1, partition=0, from_offset=0, to_offset=max(made) + 1, count=count,
        since_ms=MS, until_ms=MS + sends * 3,
    )  # fmt: skip
    return FakeMessages(records), span, made


@given(st.integers(0, 1000), st.integers(1, 60))
async def test_what_was_made_from_a_message_is_found_whatever_lies_between(seed: int, sends: int) -> None:
    messages, span, made = world(seed, sends=sends)
    for offset, places in made.items():
        looked = await look(messages, wanted_of(span, offset))
        assert {(r.partition, r.offset) for r in looked.found} == places
        assert looked.all
    assert (await look(messages, wanted_of(span, max(made) + 5))).found == []


async def test_the_search_ends_with_the_last_message_that_was_sent_or_when_it_is_long() -> None:
    messages, span, _ = world(1, sends=50)
    span.count = 1
    await look(messages, wanted_of(span, 0))
    assert messages.looked_at <= 20
    looked = await look(messages, wanted_of(SimpleNamespace(**(vars(span) | {"count": 10**6})), 0), most=30)
    assert not looked.all


async def test_what_lies_after_the_span_is_looked_at_only_when_some_of_it_is_missing() -> None:
    messages, span, made = world(2, sends=50)
    late = Record("out", 0, len(messages.records[0]), None, b"", span.until_ms + 50, {"kirby": b"\0" * 41})
    behind = [replace(late, offset=late.offset + n) for n in range(1000)]
    spread = FakeMessages({0: [*messages.records[0], *behind], 1: messages.records[1]})
    offset = max(made)
    assert {(r.partition, r.offset) for r in (await look(spread, wanted_of(span, offset))).found} == made[offset]
    assert spread.looked_at <= 150
    header = lineage.begin(bytes(16), lineage.pack_hop(P1, 0, offset))
    spread.records[0][-1] = replace(behind[-1], headers={"kirby": header})
    span.count += 1
    found = {(r.partition, r.offset) for r in (await look(spread, wanted_of(span, offset))).found}
    assert found == made[offset] | {(0, behind[-1].offset)}


async def test_what_was_made_from_messages_that_met_is_found_by_their_trace() -> None:
    trace = bytes(range(16))
    headers = [lineage.begin(t, lineage.pack_hop(P1, -1, -1), flags=2) for t in (trace, bytes(16), trace)]
    records = [Record("out", 0, n, None, b"", MS + n, {"kirby": h}) for n, h in enumerate(headers)]
    span = SimpleNamespace(
        name="out", process=P1, partition=-1, from_offset=-1, to_offset=-1, count=3, since_ms=MS, until_ms=MS + 9
    )
    looked = await look(FakeMessages({0: records}), wanted_in(span, trace, since_ms=MS))
    assert [r.offset for r in looked.found] == [0, 2]


def sees(*grants: Grant) -> Sight:
    eve = Caller(user_id=None, name="eve", role="custom", grants=grants)  # type: ignore[arg-type]
    return Sight(eve, {"prod": "", "test": "test."}, {"daily": "sales"})


def built(seen: Sight, *edges: tuple[str, str, str, str, str]) -> Graph:
    builder = Builder(seen)
    for env, job, direction, kind, name in edges:
        builder.seen_edge(
            SimpleNamespace(
                env=env, job=job, version="1", direction=direction, kind=kind, name=name, count=2, told_by="",
                last_seen=AT,
            )
        )  # fmt: skip
    return builder.graph()


EDGES = (
    ("prod", "sensor", "out", "topic", "raw"),
    ("prod", "daily", "in", "topic", "raw"),
    ("prod", "daily", "out", "state", "prices"),
    ("test", "daily", "in", "topic", "test.raw"),
    ("test", "daily", "out", "topic", "test.raw"),
    ("", "laptop.py", "in", "topic", "raw"),
)


def test_the_graph_shows_what_the_caller_may_read() -> None:
    everything = built(sees(Grant(Permission.READ)), *EDGES)
    assert {n.id for n in everything.nodes} == {
        "job:prod/sensor", "job:prod/daily", "job:test/daily", "job:/laptop.py", "topic:raw", "topic:test.raw",
        "state:prod/prices",
    }  # fmt: skip
    only_test = built(sees(Grant(Permission.READ, env="test")), *EDGES)
    assert {n.id for n in only_test.nodes} == {"job:test/daily", "topic:test.raw", "job:/laptop.py"}
    sales = built(sees(Grant(Permission.READ, namespace="sales")), *EDGES)
    assert "job:prod/sensor" not in {n.id for n in sales.nodes}
    assert "job:prod/daily" in {n.id for n in sales.nodes}


def test_a_part_of_the_graph_and_a_cycle_in_it() -> None:
    everything = built(sees(Grant(Permission.READ)), *EDGES)
    ring = around(everything, "topic:test.raw")
    assert ({n.id for n in ring.nodes}, len(ring.edges)) == ({"topic:test.raw", "job:test/daily"}, 2)
    assert {n.id for n in around(everything, "job:prod/daily").nodes} == {
        "job:prod/sensor", "topic:raw", "job:prod/daily", "state:prod/prices",
    }  # fmt: skip
    assert {n.id for n in of_environment(everything, "test").nodes} == {"job:test/daily", "topic:test.raw"}


def test_who_may_not_read_a_job_is_told_nothing_of_it() -> None:
    row = SimpleNamespace(
        env="prod", job="daily", program="x.py", version="1.2", package="daily", run_id="r", attempt=1, slot="",
        host="h", rerun=False,
    )  # fmt: skip
    assert maker(P1, row, sees(Grant(Permission.READ)))["by"] == "daily@1.2"
    hidden = maker(P1, row, sees(Grant(Permission.READ, env="test")))
    assert (hidden["hidden"], hidden["by"], hidden["process"], hidden["run_id"]) == (True, None, None, None)
    assert maker(P1, None, sees())["known"] is False
