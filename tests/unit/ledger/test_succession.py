"""Which jobs follow which, decided without a ledger."""

from uuid import UUID

import pytest
from kirby_common.ledger.succession import (
    Condition,
    Edge,
    Follow,
    Unmet,
    circle,
    downstream,
    enclosing,
    key_of,
    outcome,
)
from kirby_common.ledger.transitions import Status

A, B, C, D = (UUID(int=n) for n in range(1, 5))


@pytest.mark.parametrize(
    ("on", "status", "expected"),
    [
        ("success", "SUCCEEDED", Follow()),
        ("success", "FAILED", Unmet(A, Status.FAILED)),
        ("success", "KILLED", Unmet(A, Status.KILLED)),
        ("success", "LOST", None),
        ("success", "SKIPPED", None),
        ("success", "RUNNING", None),
        ("success", "RETRYING", None),
        ("success", None, None),
        ("failure", "SUCCEEDED", None),
        ("failure", "FAILED", Follow()),
        ("failure", "LOST", Follow()),
        ("failure", "MISSED", None),
        ("done", "SUCCEEDED", Follow()),
        ("done", "FAILED", Follow()),
        ("done", "CANCELLED", None),
    ],
)
def test_what_one_end_means(on: Condition, status: str | None, expected: object) -> None:
    assert outcome([Edge(D, A, on)], {A: status}) == expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("SUCCEEDED", None, None),
        ("SUCCEEDED", "RUNNING", None),
        ("SUCCEEDED", "SUCCEEDED", Follow()),
        ("SUCCEEDED", "FAILED", Follow()),
        ("FAILED", "SUCCEEDED", Unmet(A, Status.FAILED)),
        ("SUCCEEDED", "SKIPPED", Unmet(B, Status.SKIPPED)),
        ("LOST", "SUCCEEDED", None),
    ],
)
def test_all_predecessors_count(a: str, b: str | None, expected: object) -> None:
    assert outcome([Edge(D, A, "success"), Edge(D, B, "done")], {A: a, B: b}) == expected


def test_a_circle_is_found_in_the_order_in_which_it_would_run() -> None:
    chain = [Edge(B, A, "success"), Edge(C, B, "done"), Edge(D, A, "failure")]
    assert all(circle(chain, job) is None for job in (A, B, C, D))
    assert circle([*chain, Edge(A, C, "success")], A) == [A, B, C, A]
    assert circle([Edge(A, A, "done")], A) == [A, A]


def test_what_lies_downstream() -> None:
    assert downstream([Edge(B, A, "success"), Edge(C, B, "done"), Edge(D, C, "done")], B) == {B, C, D}


def test_a_rerun_lies_within_the_occasion_it_repeats() -> None:
    assert enclosing("due|5/r1/r2") == ["due|5/r1/r2", "due|5/r1", "due|5"]


def test_the_key_is_that_of_the_same_ends() -> None:
    assert key_of([A]) == f"{A}|after|0"
    assert key_of([A, B]) == key_of([B, A]) != key_of([A, C])
