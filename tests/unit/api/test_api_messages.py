"""Messages as REST shows them: their forms, whose topic it is, lag, and what differs between two topics."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kirby import lineage
from kirby_api.logs.ports import Bounds
from kirby_api.messages.difference import topics_diff
from kirby_api.messages.reading import env_of, lags
from kirby_api.messages.view import MessageView, message_view
from kirby_common.ports import Record


def view(value: Any, *, key: str | None = None, offset: int = 0, partition: int = 0) -> MessageView:
    data = None if value is None else value if isinstance(value, bytes) else str(value).encode()
    return message_view(Record("t", partition, offset, None if key is None else key.encode(), data, 1000 + offset))


def test_a_live_message_has_no_rerun_and_one_of_a_rerun_says_so() -> None:
    hop = lineage.pack_hop(b"process1", 0, 3)
    for flags, told in ((0, None), (lineage.RERUN, True)):
        packed = lineage.begin(bytes(16), hop, flags=flags)
        shown = message_view(Record("t", 0, 0, None, b"1", 0, {"kirby": packed, "mine": b"x"})).model_dump(mode="json")
        assert shown.get("rerun") is told
        assert ("rerun" in shown) is bool(flags)
        assert (shown["trace"], shown["hops"], shown["headers"]) == ("00" * 16, 1, {"mine": "x"})


def test_values_that_are_no_json_show_as_bytes_and_a_deletion_as_nothing() -> None:
    assert view('{"a": 1}').value == {"a": 1}
    assert (view(b"\xff\x00").value, view(b"\xff\x00").base64) == (None, "/wA=")
    assert (view(None).value, view(None).base64) == (None, None)
    packed = Record("t", 0, 0, None, b"1", 0, {"content-type": b"application/msgpack"})
    assert message_view(packed).base64 == "MQ=="


def test_a_topic_belongs_to_the_environment_with_the_longest_prefix() -> None:
    prefixes = {"prod": "", "test": "test.", "deep": "test.deep."}
    assert env_of("weather.raw", prefixes) == "prod"
    assert env_of("test.weather.raw", prefixes) == "test"
    assert env_of("test.deep.weather.raw", prefixes) == "deep"
    assert env_of("weather.raw", {"test": "test."}) is None


def test_lag_counts_what_is_still_there() -> None:
    bounds = {("t", 0): Bounds(10, 20), ("t", 1): Bounds(0, 5), ("u", 0): Bounds(0, 9)}
    (late,) = lags({"late": {0: 3, 1: 5}}, bounds, topic="t")
    assert (late.lag, [p.lag for p in late.partitions]) == (10, [10, 0])
    (half,) = lags({"half": {0: 20}}, bounds, topic="t")
    assert half.lag == 5


def test_messages_are_paired_by_key_in_their_order() -> None:
    before = [view(1, key="a"), view(2, key="b", offset=1), view(3, key="a", offset=2), view(4, offset=3)]
    after = [view(2, key="b"), view(1, key="a", offset=1), view(9, key="a", offset=2), view(5, key="c", offset=3)]
    found = topics_diff(("t", "u"), before, after)
    assert (found.same, found.changed, found.added, found.removed) == (2, 1, 1, 1)
    assert [(c.what, c.key, c.before, c.after) for c in found.items] == [
        ("changed", "a", "0:2", "0:2"),
        ("removed", None, "0:3", None),
        ("added", "c", None, "0:3"),
    ]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 3))),
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 3))),
)
def test_a_difference_counts_every_message_once(
    old: list[tuple[str | None, int]], new: list[tuple[str | None, int]]
) -> None:
    sides = [[view(value, key=key, offset=n) for n, (key, value) in enumerate(side)] for side in (old, new)]
    found = topics_diff(("t", "u"), sides[0], sides[1])
    assert found.same + found.changed + found.removed == len(old)
    assert found.same + found.changed + found.added == len(new)
    assert topics_diff(("t", "t"), sides[0], sides[0]).items == []
