"""The pure decisions about due times and ends."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kirby_common.ledger.ends import End, verdict
from kirby_common.ledger.judge import judge, retry_delay
from kirby_common.ledger.policies import Policies, merged
from kirby_common.ledger.runs import jittered
from kirby_common.ledger.transitions import ALLOWED, ENDED, NotAllowed, Status, check
from kirby_common.ledger.walk import Rules
from kirby_common.schedules import ScheduleSpec
from pydantic import ValidationError

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EACH_MINUTE = ScheduleSpec(kind="every", every=MINUTE)


def statuses(rules: Rules, *, after: timedelta, until: timedelta) -> list[str]:
    judged = judge(rules, after=NOW + after, until=NOW + until, now=NOW)
    return [j.status for j in judged]


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ({}, ["MISSED"] * 4 + ["PENDING"]),
        ({"misfire": "skip", "start_deadline": "2m"}, ["MISSED"] * 4 + ["PENDING"]),
        ({"misfire": "fire_all"}, ["PENDING"] * 5),
        ({"misfire": "fire_all", "max_fires": 2}, ["MISSED"] * 3 + ["PENDING"] * 2),
        ({"misfire": "fire_all", "catchup_window": "2m"}, ["MISSED"] * 2 + ["PENDING"] * 3),
    ],
)
def test_misfires(policies: dict[str, Any], expected: list[str]) -> None:
    rules = Rules([EACH_MINUTE], Policies.model_validate(policies))
    assert statuses(rules, after=-5 * MINUTE, until=timedelta(0)) == expected


def test_what_is_to_come_is_pending_whatever_has_passed() -> None:
    assert (
        statuses(Rules([EACH_MINUTE]), after=-2 * MINUTE, until=2 * MINUTE) == ["MISSED", "PENDING"] + ["PENDING"] * 2
    )


def test_an_old_last_due_time_is_not_fired() -> None:
    hourly = ScheduleSpec(kind="every", every=timedelta(hours=3))
    rules = Rules([hourly], Policies.model_validate({"catchup_window": "1h"}))
    judged = judge(rules, after=NOW - timedelta(hours=5), until=NOW - MINUTE, now=NOW - MINUTE)
    assert [(j.status, j.reason) for j in judged] == [
        (Status.MISSED, "no leader at that time; older than catchup_window")
    ]


def test_the_state_table_has_no_way_out_of_a_seen_end() -> None:
    for status in (Status.SUCCEEDED, Status.KILLED, Status.MISSED, Status.CANCELLED):
        assert ALLOWED[status] == frozenset()
    with pytest.raises(NotAllowed, match="SUCCEEDED to RUNNING"):
        check(Status.SUCCEEDED, Status.RUNNING)
    assert Status.RETRYING not in ENDED


def end(**fields: Any) -> Any:
    policies = Policies.model_validate(fields.pop("policies", {}))
    values = {"exit_code": 0, "signal": None, **fields}
    return verdict(End(**values), policies, attempt=1, daemon=False, since_first_start=None, kill_note=None, random=0.5)


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({}, "SUCCEEDED", None),
        ({"exit_code": 2}, "FAILED", "exit code 2"),
        ({"exit_code": None, "signal": 9}, "FAILED", "ended by signal 9 (SIGKILL)"),
        ({"exit_code": None, "signal": 15, "killed_by": "user"}, "KILLED", "killed: user"),
        ({"exit_code": 0, "killed_by": "drained"}, "SUCCEEDED", "drained"),
        (
            {"exit_code": 1, "killed_by": "timeout", "policies": {"timeout": "5s"}},
            "FAILED",
            "timeout: ran longer than 5s",
        ),
        ({"exit_code": None}, "LOST", "its end was not seen"),
        ({"exit_code": 1, "late": True}, "FAILED", "exit code 1; reported late"),
    ],
)
def test_what_an_end_means(fields: dict[str, Any], status: str, reason: str | None) -> None:
    what = end(**fields)
    assert (what.status, what.reason, what.retry_after) == (status, reason, None)


def test_retries_name_their_exit_codes() -> None:
    policy = {"retry": {"attempts": 2, "exit_codes": [75]}}
    assert end(exit_code=75, policies=policy).retry_after == timedelta(0)
    assert end(exit_code=1, policies=policy).retry_after is None


def test_no_attempt_starts_later_than_the_duration_of_the_retries() -> None:
    retry = {"attempts": 9, "delay": "10s", "duration": "1m"}
    policies = Policies.model_validate({"retry": retry})
    for since, again in ((49, True), (50, True), (51, False)):
        what = verdict(
            End(exit_code=1, signal=None), policies, attempt=1, daemon=False,
            since_first_start=timedelta(seconds=since), kill_note=None, random=0.5,
        )  # fmt: skip
        assert (what.retry_after is not None) is again


def test_lists_may_come_as_they_are_typed_on_a_command_line() -> None:
    policies = Policies.model_validate({"limits": "db, api", "retry": {"exit_codes": "1, 75"}})
    assert (policies.limits, policies.retry.exit_codes) == (("db", "api"), (1, 75))


def test_a_random_wait_lies_between_nothing_and_the_delay() -> None:
    policies = Policies.model_validate({"retry": {"kind": "random", "delay": "10s", "cap": "4s"}})
    assert [retry_delay(policies, attempt=1, random=r).total_seconds() for r in (0.0, 0.5)] == [0, 2]


@given(st.uuids(), st.integers(0, 86_400))
def test_jitter_is_the_same_for_a_run_and_never_early(run_id: UUID, seconds: int) -> None:
    jitter = timedelta(seconds=seconds)
    fire = jittered(NOW, run_id, jitter)
    assert fire == jittered(NOW, run_id, jitter)
    assert NOW <= fire <= NOW + jitter


def test_waits_grow_up_to_their_cap() -> None:
    policies = Policies.model_validate({"retry": {"kind": "exponential", "delay": "1s", "cap": "10s"}})
    waits = [retry_delay(policies, attempt=n, random=0.0).total_seconds() for n in range(1, 7)]
    assert waits == [1, 2, 4, 8, 10, 10]


def test_retry_after_lost_needs_at_least_once() -> None:
    with pytest.raises(ValidationError, match="nobody knows whether the script ran"):
        merged({}, {"retry": {"on_lost": True}})


@pytest.mark.parametrize("bad", [{"jitter": "-1s"}, {"overlap": "maybe"}, {"retry": {"attempts": 0}}, {"speed": 1}])
def test_bad_policies_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        merged(bad, {})
