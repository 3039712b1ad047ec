"""Who may start: overlap, concurrency and limits, decided without a ledger."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st
from kirby_common.ledger.admission import PATIENCE, PROMISED_FOR, Contender, Limit, Room, Skip, Wait, Yes
from kirby_common.ledger.transitions import Status

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HERE = UUID(int=1)


def run(*, due: int = 0, **fields: Any) -> Contender:
    values: dict[str, Any] = {"id": uuid4(), "context_id": HERE, "status": Status.CLAIMED, **fields}
    return Contender(fire_at=NOW + due * SECOND, **values)


def elsewhere(*, due: int = 0, **fields: Any) -> Contender:
    return run(due=due, context_id=uuid4(), **fields)


def waiting(waits_for: str, *, due: int = 0, **fields: Any) -> Contender:
    return run(due=due, status=Status.PENDING, waits_for=waits_for, **fields)


DB = Limit("db", 2)
IN_DB: dict[str, Any] = {"limits": ("db",)}


def test_a_free_place_is_taken_and_then_the_limit_is_full() -> None:
    room = Room([elsewhere(status=Status.RUNNING, **IN_DB)], [DB], now=NOW)
    assert room.at_launch(elsewhere(**IN_DB)) == Yes()
    assert room.at_launch(elsewhere(**IN_DB)) == Wait("limit db", "limit 'db' is full (2 of 2)")
    assert room.at_launch(elsewhere()) == Yes()


def test_a_key_counts_each_value_by_itself() -> None:
    limit = Limit("api", 1, key="labels.customer")
    acme: dict[str, Any] = {"limits": ("api",), "facts": {"labels.customer": "acme"}}
    room = Room([elsewhere(status=Status.RUNNING, **acme)], [limit], now=NOW)
    assert room.at_launch(elsewhere(limits=("api",), facts={"labels.customer": "other"})) == Yes()
    refused = room.at_launch(elsewhere(**acme))
    assert isinstance(refused, Wait)
    assert refused.reason == "limit 'api' for labels.customer=acme is full (1 of 1)"
    assert room.at_launch(elsewhere(limits=("api",), facts={})) == Yes()
    assert isinstance(room.at_launch(elsewhere(limits=("api",), facts={})), Wait)


def test_a_lost_run_of_unknown_end_holds_both_of_its_places() -> None:
    lost = run(status=Status.LOST, due=-60, attempt=1, **IN_DB)
    room = Room([lost], [Limit("db", 1)], now=NOW)
    assert room.at_launch(run()) == Skip(f"overlap=skip: run {lost.id} was still LOST")
    assert isinstance(room.at_launch(elsewhere(**IN_DB)), Wait)


def test_between_attempts_the_limit_is_free_and_the_overlap_place_is_not() -> None:
    for between in (run(status=Status.RETRYING, attempt=1, **IN_DB), run(status=Status.PENDING, attempt=1, **IN_DB)):
        room = Room([between], [Limit("db", 1)], now=NOW)
        assert isinstance(room.at_launch(run(due=1)), Skip)
        assert room.at_launch(elsewhere(**IN_DB)) == Yes()


def test_a_retry_has_its_overlap_place_already() -> None:
    retry = run(attempt=1)
    assert Room([retry], [], now=NOW).at_launch(retry) == Yes()


def test_queue_one_lets_one_wait_and_skips_the_others() -> None:
    for status, attempt in ((Status.RUNNING, 1), (Status.RETRYING, 1), (Status.CLAIMED, 2)):
        holder = run(status=status, attempt=attempt, overlap="queue_one", due=-9)
        room = Room([holder], [], now=NOW)
        first, second = run(overlap="queue_one"), run(overlap="queue_one", due=1)
        assert room.at_launch(first) == Wait(f"context {HERE}", f"waits for the end of run {holder.id}")
        assert room.at_launch(second) == Skip(f"overlap=queue_one: run {first.id} waits already")


def test_the_queued_one_is_not_overtaken() -> None:
    queued = waiting(f"context {HERE}", due=-5, overlap="queue_one")
    assert isinstance(Room([queued], [], now=NOW).at_launch(run(overlap="queue_one")), Skip)
    room = Room([], [], now=NOW)
    assert room.in_line(queued) == Yes()
    assert isinstance(room.at_launch(run(overlap="queue_one")), Wait)


def test_cancel_previous_ends_what_runs_and_takes_over_from_what_waits() -> None:
    holder = run(status=Status.RUNNING, attempt=1, overlap="cancel_previous", due=-9)
    room = Room([holder], [], now=NOW)
    first, second = run(overlap="cancel_previous"), run(overlap="cancel_previous", due=1)
    answer = room.at_launch(first)
    assert isinstance(answer, Wait)
    assert (answer.ends, answer.instead_of) == (holder.id, ())
    answer = room.at_launch(second)
    assert isinstance(answer, Wait)
    assert (answer.ends, answer.instead_of) == (holder.id, (first.id,))


def test_cancel_previous_in_one_batch_ends_the_one_just_admitted() -> None:
    room = Room([], [], now=NOW)
    first, second = run(overlap="cancel_previous"), run(overlap="cancel_previous", due=1)
    assert room.at_launch(first) == Yes()
    answer = room.at_launch(second)
    assert isinstance(answer, Wait)
    assert answer.ends == first.id


def test_concurrency_bounds_the_runs_of_one_context() -> None:
    many: dict[str, Any] = {"overlap": "allow", "concurrency": 2}
    room = Room([run(status=Status.RUNNING, **many)], [], now=NOW)
    assert room.at_launch(run(**many)) == Yes()
    assert room.at_launch(run(**many)) == Wait(f"job {HERE}", "its concurrency is full (2 of 2)")


def test_a_promised_place_is_kept_until_a_worker_had_its_chance() -> None:
    promised = elsewhere(status=Status.PENDING, let_go_at=NOW, **IN_DB)
    limit = Limit("db", 1)
    assert isinstance(Room([promised], [limit], now=NOW + SECOND).at_launch(elsewhere(**IN_DB)), Wait)
    assert Room([promised], [limit], now=NOW + PROMISED_FOR).at_launch(elsewhere(**IN_DB)) == Yes()
    claimed = replace(promised, status=Status.CLAIMED)
    assert isinstance(Room([claimed], [limit], now=NOW + PROMISED_FOR).at_launch(elsewhere(**IN_DB)), Wait)
    assert Room([claimed], [limit], now=NOW).at_launch(claimed) == Yes()


def test_a_newcomer_goes_behind_those_that_wait() -> None:
    ahead = waiting("limit db", due=-5, context_id=uuid4(), **IN_DB)
    refused = Room([ahead], [DB], now=NOW).at_launch(elsewhere(**IN_DB))
    assert refused == Wait("limit db", "limit 'db': others have waited longer")


def test_priority_decides_among_those_due_together() -> None:
    low, high = waiting("limit db", priority=1, **IN_DB), waiting("limit db", priority=9, **IN_DB)
    assert high.turn < low.turn


def test_a_run_with_several_limits_is_not_starved_for_ever() -> None:
    both = waiting("limit a", due=0, context_id=uuid4(), limits=("a", "b"))
    taken = elsewhere(status=Status.RUNNING, limits=("a",))
    limits = [Limit("a", 1), Limit("b", 1)]
    young: dict[str, Any] = {"context_id": uuid4(), "limits": ("b",), "due": 1}
    assert Room([both, taken], limits, now=NOW + 2 * SECOND).in_line(waiting("limit b", **young)) == Yes()
    later = NOW + PATIENCE + SECOND
    assert isinstance(Room([both, taken], limits, now=later).in_line(waiting("limit b", **young)), Wait)


contenders = st.builds(
    lambda context, due, overlap, limits, attempt: run(
        due=due, context_id=UUID(int=context), overlap=overlap, limits=limits, attempt=attempt
    ),
    st.integers(1, 3), st.integers(-9, 0), st.sampled_from(["skip", "queue_one", "allow", "cancel_previous"]),
    st.sampled_from([(), ("db",), ("api",), ("api", "db")]), st.integers(0, 1),
)  # fmt: skip


@given(st.lists(contenders, max_size=12), st.integers(0, 3))
def test_no_batch_ever_takes_more_places_than_there_are(batch: list[Contender], places: int) -> None:
    room = Room([c for c in batch if c.attempt], [Limit("db", places), Limit("api", 1)], now=NOW)
    admitted = [c for c in sorted(batch, key=lambda c: c.turn) if room.at_launch(c) == Yes()]
    assert sum("db" in c.limits for c in admitted) <= places
    assert sum("api" in c.limits for c in admitted) <= 1
    for context in range(1, 4):
        here = [c for c in admitted if c.context_id == UUID(int=context) and c.overlap != "allow"]
        assert len([c for c in here if not c.attempt]) <= 1


@given(st.lists(contenders, max_size=12), st.integers(1, 3))
def test_whoever_waits_is_let_go_once_all_places_are_free(batch: list[Contender], places: int) -> None:
    limits = [Limit("db", places), Limit("api", 1)]
    queue = [replace(c, status=Status.PENDING, waits_for="limit db", attempt=0) for c in batch]
    for _ in batch:
        room = Room(queue, limits, now=NOW)
        answers = {c.id: room.in_line(c) for c in sorted(queue, key=lambda c: c.turn)}
        assert any(not isinstance(a, Wait) or a.instead_of for a in answers.values())
        replaced = {i for a in answers.values() if isinstance(a, Wait) for i in a.instead_of}
        queue = [c for c in queue if isinstance(answers[c.id], Wait) and c.id not in replaced]
        if not queue:
            break
    assert queue == []
