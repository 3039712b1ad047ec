"""A State's records: what was written is read, what is bad is skipped, and what is of another rule stops the reader."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kirby.state.records import (
    BadName,
    BadRecord,
    Latest,
    Mutation,
    UnknownRule,
    Value,
    checked_name,
    decode_latest,
    decode_mutation,
    decode_position,
    encode_key,
    encode_latest,
    encode_mutation,
    encode_position,
    latest_topic,
    log_topic,
    memory_form,
    name_of,
)
from kirby.state.rule import Entry, Memory, Op, Outcome, Verdict, Writer, fold

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "state").glob("*.json"))

keys = st.text(min_size=1, max_size=20).filter(lambda k: "\0" not in k)
numbers = st.integers(0, 2**53)
writers = st.one_of(
    st.builds(Writer, st.just(""), st.just(0), st.uuids().map(str)),
    st.builds(Writer, st.uuids().map(str), numbers, st.uuids().map(str)),
)
values = st.builds(Value, st.binary(max_size=40), st.sampled_from(["application/json", "text/plain"]), st.booleans())


@st.composite
def mutations(draw: st.DrawFn) -> Mutation:
    op = draw(st.sampled_from(Op))
    value = {Op.SET: values, Op.DELETE: st.none(), Op.RESTORE: st.none() | values}[op]
    return Mutation(
        key=draw(keys),
        op=op,
        writer=draw(writers),
        n=draw(numbers),
        of=draw(st.integers(1, 100)),
        by=draw(st.text(max_size=10)),
        value=draw(value),
        expect=draw(st.none() | numbers),
        restores=draw(numbers) if op is Op.RESTORE else None,
        rerun=draw(st.booleans()),
        inputs=tuple(draw(st.lists(st.text(max_size=10), max_size=3))),
    )


@given(mutations())
def test_a_mutation_is_read_as_it_was_written(mutation: Mutation) -> None:
    assert decode_mutation(encode_key(mutation.key), encode_mutation(mutation)) == mutation


@given(
    st.none() | values,
    st.lists(st.builds(Entry, writers, numbers, st.builds(Outcome, st.sampled_from(Verdict), numbers))),
)
def test_a_memory_is_read_as_it_was_written(value: Value | None, recent: list[Entry]) -> None:
    latest = Latest(Memory(3, 17, None if value is None else 12, tuple(recent)), value, "ada", 1_700_000_000_000)
    assert decode_latest(encode_latest(latest)) == latest


def test_a_position_is_read_as_it_was_written() -> None:
    assert decode_position(encode_position(41)) == 41


def line(**changed: Any) -> bytes:
    form = {"rule": "fold/1", "op": "set", "process": "p", "n": 1, "of": 4, "by": "ada"} | changed
    return json.dumps({k: v for k, v in form.items() if v is not None}).encode()


@pytest.mark.parametrize(
    ("key", "data"),
    [
        (b"k", None),
        (b"k", b""),
        (b"k", b"hello"),
        (b"k", b"[1]\n2"),
        (b"k", b'"text"\n2'),
        (b"k", line()),
        (b"k", line(type=7) + b"\n1"),
        (b"k", line(stored="yes") + b"\n1"),
        (b"k", line(op="delete") + b"\n1"),
        (b"k", line(op="rename") + b"\n1"),
        (b"k", line(op="restore") + b"\n1"),
        (b"k", line(restores=1) + b"\n1"),
        (b"k", line(n=-1) + b"\n1"),
        (b"k", line(n="1") + b"\n1"),
        (b"k", line(n=True) + b"\n1"),
        (b"k", line(process=None) + b"\n1"),
        (b"k", line(of=None) + b"\n1"),
        (b"", line() + b"\n1"),
        (None, line() + b"\n1"),
        (b"a\0b", line() + b"\n1"),
        (b"\xff", line() + b"\n1"),
    ],
)
def test_what_is_no_mutation_is_a_bad_record(key: bytes | None, data: bytes | None) -> None:
    with pytest.raises(BadRecord):
        decode_mutation(key, data)


@given(st.binary(max_size=60))
def test_no_bytes_are_worse_than_a_bad_record(data: bytes) -> None:
    for decode in (lambda: decode_mutation(b"k", data), lambda: decode_latest(data), lambda: decode_position(data)):
        with contextlib.suppress(BadRecord, UnknownRule):
            decode()


def test_a_reader_stops_at_a_rule_that_it_does_not_know() -> None:
    with pytest.raises(UnknownRule, match="'fold/2', which this version does not know: update kirby"):
        decode_mutation(b"k", line(rule="fold/2", op="merge") + b"\n1")


def test_fields_of_later_versions_are_passed_over() -> None:
    assert decode_mutation(b"k", line(mood="fine") + b"\n1") == decode_mutation(b"k", line() + b"\n1")


def test_names_and_their_topics() -> None:
    assert log_topic("prices", prefix="test.") == "test..kirby.state.prices.log"
    assert latest_topic("prices") == ".kirby.state.prices.latest"
    assert name_of(log_topic("prices", prefix="test.")) == ("test.", "prices")
    assert name_of(".kirby.state.prices.latest") is None
    assert name_of(".kirby.run-events") is None


@pytest.mark.parametrize("name", ["", "Prices", "a.b", "a_b", "-a", "a-", "x" * 101, "pri ces", "päris"])
def test_what_can_t_be_a_name(name: str) -> None:
    with pytest.raises(BadName, match="use a-z, 0-9 and -"):
        checked_name(name)


def test_a_key_is_text() -> None:
    with pytest.raises(TypeError, match="keys are text, and 7 is a int"):
        encode_key(7)
    for bad in ("", "a\0b", "x" * 1025, "\ud800"):
        with pytest.raises(BadName):
            encode_key(bad)


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_a_log_that_was_once_written_folds_to_the_same_for_ever(file: Path) -> None:
    log = json.loads(file.read_text())
    memories: dict[str, Memory] = {}
    for offset, record in enumerate(log["records"]):
        try:
            mutation = decode_mutation(record["key"].encode(), record["value"].encode())
        except BadRecord:
            assert record["outcome"] == "skipped"
            continue
        result = fold(memories.get(mutation.key), mutation.step, offset)
        memories[mutation.key] = result.memory
        told = f"{'repeat of ' if result.repeat else ''}{result.outcome.verdict} {result.outcome.version}"
        assert told == record["outcome"], offset
    assert {key: memory_form(memory) for key, memory in memories.items()} == log["memories"]


def test_there_is_a_golden_log() -> None:
    assert [file.stem for file in GOLDEN] == ["fold-1"]
