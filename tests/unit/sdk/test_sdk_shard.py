"""The pure part of windows and timers: which windows an event belongs to, what is late, what is due, what is told."""

from collections import defaultdict
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kirby._shard import Entry, Id, Shard, decode_position, encode_position
from kirby._windowing import take_into
from kirby.errors import KirbyError
from kirby.windows import Hopping, Tumbling


def ms(count: int) -> timedelta:
    return timedelta(milliseconds=count)


spans = st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(0, 40)).map(
    lambda n: Hopping(ms(max(n[:2])), hop=ms(min(n[:2])), grace=ms(n[2]))
)
events = st.lists(st.tuples(st.sampled_from([None, b"", b"a", b"b"]), st.integers(0, 300)), max_size=60)


def count_into(shard: Shard, span: Hopping, key: bytes | None, at_ms: int, offset: int) -> bool:
    return take_into(
        shard,
        lambda before: [*(before.value if before else ()), offset],
        spans=span,
        key=key,
        at_ms=at_ms,
        offset=offset,
        rerun=False,
    )


@given(span=spans, at_ms=st.integers(-1000, 1000))
def test_an_event_belongs_to_each_window_that_covers_it_and_to_no_other(span: Hopping, at_ms: int) -> None:
    hop, size = span.hop // ms(1), span.size_ms
    around = range((at_ms - size) // hop - 1, at_ms // hop + 2)
    assert span.starts(at_ms) == [n * hop for n in around if n * hop <= at_ms < n * hop + size]


def test_a_tumbling_window_is_one_that_hops_by_its_size() -> None:
    assert Tumbling(ms(10)).starts(25) == Hopping(ms(10), hop=ms(10)).starts(25) == [20]


@pytest.mark.parametrize(("size", "hop", "grace"), [(0, 0, 0), (10, 0, 0), (10, 11, 0), (10, 5, -1)])
def test_windows_that_make_no_sense_are_refused(size: int, hop: int, grace: int) -> None:
    with pytest.raises(KirbyError):
        Hopping(ms(size), hop=ms(hop), grace=ms(grace))


@given(span=spans, events=events)
def test_every_event_is_in_its_open_windows_or_late(span: Hopping, events: list[tuple[bytes | None, int]]) -> None:
    shard = Shard()
    closed: dict[Id, list[int]] = {}
    expected: dict[Id, list[int]] = defaultdict(list)
    watermark = -1
    for offset, (key, at_ms) in enumerate(events):
        watermark = max(watermark, at_ms)
        open_ones = [s for s in span.starts(at_ms) if s + span.size_ms + span.grace_ms > watermark]
        for start in open_ones:
            expected[Id("window", key, str(start))].append(offset)
        assert count_into(shard, span, key, at_ms, offset) is bool(open_ones)
        while (due := shard.pop_due(0)) is not None:
            assert due[0] not in closed
            closed[due[0]] = due[1].value
        assert all(entry.due_ms > watermark for entry in shard.entries.values())
    assert closed | {which: entry.value for which, entry in shard.entries.items()} == expected


@given(span=spans, events=events, told_at=st.sets(st.integers(0, 60)))
def test_what_was_told_is_what_there_is(
    span: Hopping, events: list[tuple[bytes | None, int]], told_at: set[int]
) -> None:
    shard = Shard()
    kept: dict[Id, Entry] = {}
    for offset, (key, at_ms) in enumerate([*events, (b"a", 300)]):
        count_into(shard, span, key, at_ms, offset)
        shard.pop_due(0)
        if offset in told_at or offset == len(events):
            for which, entry in shard.changes():
                assert Id.decode(which.encode()) == which
                if entry is None:
                    kept.pop(which, None)
                else:
                    kept[which] = entry
            assert kept == shard.entries
            assert not shard.has_changes()


def test_a_fold_that_raises_changes_no_window() -> None:
    shard, calls = Shard(), []

    def fold(before: Entry | None) -> int:
        calls.append(before)
        return 1 // (2 - len(calls))

    with pytest.raises(ZeroDivisionError):
        take_into(shard, fold, spans=Hopping(ms(10), hop=ms(5)), key=None, at_ms=7, offset=0, rerun=False)
    assert len(calls) == 2
    assert shard.entries == {}


def test_a_window_does_not_take_an_offset_twice() -> None:
    shard, span = Shard(), Hopping(ms(10), hop=ms(10))
    for offset in (0, 1, 1, 0, 2):
        assert count_into(shard, span, b"a", 5, offset)
    assert shard.entries[Id("window", b"a", "0")].value == [0, 1, 2]


def test_what_is_moved_is_due_at_its_new_time_and_what_is_removed_never() -> None:
    shard = Shard()
    moved, gone = Id("timer", b"a", "moved"), Id("timer", b"a", "gone")
    for which in (moved, gone):
        shard.put(which, Entry(10, "wall", None, 0, 1))
    shard.put(moved, Entry(30, "wall", None, 0, 1))
    assert shard.remove(gone)
    assert not shard.remove(gone)
    assert shard.pop_due(29) is None
    assert shard.next_wall_ms() == 30
    assert shard.pop_due(30) == (moved, Entry(30, "wall", None, 0, 1))
    assert shard.next_wall_ms() is None


def test_records_of_the_changelog_are_read_as_they_were_written() -> None:
    entry = Entry(1_000, "event", {"n": 1}, 3, 9, 4, True)
    assert Entry.decode(entry.encode(b'{"n":1}'), lambda data: {"n": 1} if data == b'{"n":1}' else None) == entry
    shard, other = Shard(), Shard()
    shard.position, shard.watermark_ms, shard.late = 7, None, 2
    decode_position(encode_position(shard), other)
    assert (other.position, other.watermark_ms, other.late) == (7, None, 2)
