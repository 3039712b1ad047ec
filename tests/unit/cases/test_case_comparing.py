"""What is told of a script that left something else than expected."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from kirby.testing import Sent
from kirby.testing.case import Case, Expected, Given
from kirby.testing.comparing import diff, output_fits, topic_problems

AT = datetime(2026, 1, 1, tzinfo=UTC)


def told(expected: list[Sent], came: list[Sent], *, ignore: tuple[str, ...] = (), ordered: bool = True) -> list[str]:
    wanted = Expected(topics={"daily": expected})
    case = Case(Path(), Given("script.py", Path()), wanted, ignore=ignore, ordered=ordered)
    return topic_problems(case, "daily", came)


def test_a_message_that_differs_is_shown_line_by_line() -> None:
    expected = Sent({"low": 1, "high": 2}, key="Seattle", where="expected/topics/daily/001.json")
    (problem,) = told([expected], [Sent({"low": 1, "high": 3}, key="Seattle", timestamp=AT)])
    assert problem.splitlines() == [
        "expected/topics/daily/001.json differs:",
        '    "key": "Seattle",',
        '    "value": {',
        '      "low": 1,',
        '-     "high": 2',
        '+     "high": 3',
        "    }",
        "  }",
    ]


def test_what_is_missing_and_what_is_more_is_named() -> None:
    expected = [Sent(1, key="a", where="x/001.json"), Sent(2, key="b", where="x/messages.jsonl:3")]
    assert told(expected, [Sent(1, key="a"), Sent(3, key="c")]) == [
        "topics/daily: expected/topics/daily/messages.jsonl:3 did not come",
        'topics/daily: a message more than expected:\n+ { "key": "c", "value": 3 }',
    ]
    assert told([], []) == []


def test_messages_of_a_key_are_compared_in_their_order_and_keys_among_each_other_are_not() -> None:
    a1, a2, b = Sent(1, key="a"), Sent(2, key="a"), Sent(3, key="b")
    assert told([a1, a2, b], [b, a1, a2]) == []
    assert len(told([a1, a2, b], [b, a2, a1])) == 2
    assert told([a1, a2, b], [b, a2, a1], ordered=False) == []
    assert len(told([a1, a1], [a1, a2], ordered=False)) == 2


def test_a_time_and_headers_count_where_they_are_named() -> None:
    assert told([Sent(1)], [Sent(1, timestamp=AT)]) == []
    assert told([Sent(1, timestamp=AT)], [Sent(1, timestamp=AT)]) == []
    assert len(told([Sent(1, timestamp=AT)], [Sent(1, timestamp=AT.replace(year=2025))])) == 1
    assert len(told([Sent(1)], [Sent(1, headers={"a": "b"})])) == 1


def test_fields_can_be_left_out_of_the_comparison() -> None:
    expected, came = Sent({"id": 1, "at": {"s": 2}, "n": 3}), Sent({"id": 9, "at": {"s": 8}, "n": 3})
    assert told([expected], [came], ignore=("value.id", "value.at.s", "value.gone.x", "headers")) == []
    assert len(told([expected], [came], ignore=("value.id",))) == 1


def test_many_problems_of_a_topic_are_counted() -> None:
    problems = told([], [Sent(n) for n in range(9)])
    assert len(problems) == 6
    assert problems[-1] == "topics/daily: and 4 more"


@pytest.mark.parametrize(
    ("wanted", "came", "answer"),
    [
        ("a\nb\n", "a\nb", True),
        ("a\n", "a\nb\n", False),
        ("took … s\n", "took 1.2 s\n", True),
        ("…\nlast\n", "one\ntwo\nlast\n", True),
        ("", "", True),
        ("", "a\n", False),
    ],
)
def test_an_output_may_have_gaps(wanted: str, came: str, answer: bool) -> None:
    assert output_fits(wanted, came) is answer


def test_a_difference_far_down_is_shown_with_its_surroundings() -> None:
    lines = [str(n) for n in range(20)]
    shown = diff("\n".join(lines), "\n".join([*lines[:15], "x", *lines[16:]]))
    assert shown.splitlines() == ["  12", "  13", "  14", "- 15", "+ x", "  16", "  17", "  18"]
