"""The checker of a chaos run, on recorded histories: it must see what must not be, and nothing else."""

from dataclasses import replace

import pytest

from tests.chaos.checker import Heard, History, Row, Stretch, count, judge

RUN, NEXT = "run-1", "run-2"
GOOD = History(
    testimonies=[
        Heard(RUN, 1, 100.0, "start"), Heard(RUN, 1, 101.0, "end", 3),
        Heard(NEXT, 1, 160.0, "start"), Heard(NEXT, 1, 161.0, "end", 3),
    ],
    rows=[
        Row(RUN, "c", "schedule", "SUCCEEDED", 60.0, 1, 1, True, True),
        Row(NEXT, "c", "schedule", "SUCCEEDED", 120.0, 1, 1, True, True),
    ],
    stretches=[Stretch("c", 60.0, 0.0, 125.0)], lines={(RUN, 1): 3, (NEXT, 1): 3},
)  # fmt: skip


def test_a_good_history_has_no_findings() -> None:
    assert judge(GOOD) == []
    assert count([]) == "doubles=0 unreported=0 lines_lost=0"


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"testimonies": [*GOOD.testimonies, Heard(RUN, 1, 100.5, "start")]}, "double"),
        ({"testimonies": [*GOOD.testimonies, Heard(RUN, 2, 150.0, "start")]}, "double"),
        ({"rows": [*GOOD.rows, replace(GOOD.rows[0], id="again", status="SKIPPED", attempt=0)]}, "double"),
        ({"testimonies": [*GOOD.testimonies[:1], replace(GOOD.testimonies[1], boot=160.5), *GOOD.testimonies[2:]]},
         "double"),
        ({"rows": GOOD.rows[:1]}, "unreported"),
        ({"rows": [GOOD.rows[0], replace(GOOD.rows[1], status="RUNNING")]}, "unreported"),
        ({"rows": [GOOD.rows[0], replace(GOOD.rows[1], status="MISSED")]}, "unreported"),
        ({"testimonies": GOOD.testimonies[:2]}, "unreported"),
        ({"stretches": [Stretch("c", 60.0, 0.0, 185.0)]}, "unreported"),
        ({"lines": {(RUN, 1): 3, (NEXT, 1): 2}}, "line_lost"),
    ],
)  # fmt: skip
def test_what_must_not_be_is_seen(changed: dict[str, object], kind: str) -> None:
    assert kind in {finding.kind for finding in judge(replace(GOOD, **changed))}  # type: ignore[arg-type]


def test_a_range_row_tells_of_all_its_due_times() -> None:
    told = Row("r", "c", "range", "SKIPPED", 180.0, 0, 1, True, True, range_to=300.0)
    history = replace(GOOD, rows=[*GOOD.rows, told], stretches=[Stretch("c", 60.0, 0.0, 301.0)])
    assert judge(history) == []
