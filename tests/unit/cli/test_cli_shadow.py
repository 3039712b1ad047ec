"""How a shadow's comparison reads, and how a rewind is told of in one line."""

from typing import Any

import pytest
from kirby.cli.rewind import _sentences
from kirby.cli.rewind_comparison import sentences
from kirby.cli.rewind_progress import code_of, ended, told

TOPIC: dict[str, Any] = {
    "topic": "daily", "same": 7, "changed": 1, "only_original": 1, "only_shadow": 0,
    "examples": [
        {
            "kind": "changed", "key": "Seattle", "original": {"place": "0:7", "value": "x" * 150},
            "shadow": {"place": "1:2", "value": None},
        },
        {"kind": "only_original", "key": None, "original": {"place": "0:8", "value": "1"}, "shadow": None},
    ],
}  # fmt: skip
STATE: dict[str, Any] = {
    "state": "records", "same": 0, "changed": 0, "only_shadow": 1,
    "examples": [{"kind": "only_shadow", "key": "k", "original": None, "shadow": "2"}],
}  # fmt: skip


def test_each_topic_and_state_is_a_line_with_a_few_that_differ() -> None:
    assert list(sentences({"topics": [TOPIC], "states": [STATE]})) == [
        "daily: 7 the same, 1 changed, 1 only in the original, 0 only in the shadow",
        "  changed: key Seattle",
        f"    original 0:7: {'x' * 100}…",
        "    shadow 1:2: (deleted)",
        "  only in the original: without a key",
        "    original 0:8: 1",
        "State records: 0 the same, 0 changed, 1 only in the shadow",
        "  only in the shadow: key k",
        "    shadow: 2",
    ]


def test_where_nothing_was_made_it_says_so() -> None:
    assert list(sentences({"topics": [], "states": []})) == ["Nothing was made, in the shadow or before."]


@pytest.mark.parametrize(
    ("state", "is_over", "code"),
    [("running", False, 1), ("ready", True, 0), ("promoted", True, 0), ("dropped", True, 0), ("failed", True, 1)],
)
def test_who_waits_for_a_decision_is_waited_for_no_longer(state: str, is_over: bool, code: int) -> None:
    rewind = {"id": "0f1e", "job": "daily", "env": "prod", "mode": "shadow", "state": state, "wanted": "run"}
    assert told(rewind) == f"rewind 0f1e of daily@prod in shadow is {state}"
    assert (ended(rewind), code_of([rewind])) == (is_over, code)


def test_a_preview_says_that_live_messages_go_on() -> None:
    one = {
        "mode": "shadow", "job": "daily", "env": "prod", "messages": 3, "lasts_s": 1.5, "touched_topics": ["daily"],
        "touched_jobs": ["mail"], "touched_others": [], "warnings": ["w"],
    }  # fmt: skip
    assert _sentences({"backfill": None, "items": [one]}) == [
        "daily@prod: 3 messages are processed again in shadow, 2 s at that rate; live ones go on",
        "  touched when it is promoted: daily, mail",
        "  note: w",
    ]
