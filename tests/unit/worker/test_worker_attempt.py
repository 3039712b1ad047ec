"""The life of an attempt, as pure decisions."""

import itertools
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from kirby_common.worker_protocol import LaunchDecision, ReportKind
from kirby_worker.domain import attempt as life
from kirby_worker.domain.attempt import Attempt, Phase, Ref, claimed, decide

REF = Ref(uuid4(), 1)


def fresh(**options: Any) -> Attempt:
    return replace(claimed(REF, due=100.0), **options)


def decision(**options: object) -> life.Decided:
    return life.Decided(LaunchDecision(run_id=REF.run_id, grant=1, **options))


def after(attempt: Attempt, *events: tuple[life.Event, float]) -> tuple[Attempt, tuple[life.Effect, ...]]:
    effects: tuple[life.Effect, ...] = ()
    for event, now in events:
        attempt, effects = decide(attempt, event, now=now)
    return attempt, effects


def asked(at: float = 99.7) -> Attempt:
    return after(fresh(), (life.Prepared(), 95), (life.Asked(), at))[0]


def running() -> Attempt:
    going = after(asked(), (decision(ok=True, attempt=3), 99.8))[0]
    return after(going, (life.Started(1, 100.0, 3), 100.01))[0]


def test_launching_is_asked_for_300_ms_before_due() -> None:
    assert fresh().ask_at == pytest.approx(99.7)


def test_a_yes_starts_at_the_due_instant_and_within_two_seconds_of_first_asking() -> None:
    going, effects = after(asked(), (decision(ok=True, attempt=3), 99.8))
    assert going.phase is Phase.GOING
    assert effects == (life.Go(at=100.0, until=101.7, number=3),)


def test_without_an_answer_nothing_is_started_and_not_launched_is_told_after_the_kill() -> None:
    aborting, effects = after(asked(), (life.Unanswered(), 101.7))
    assert (aborting.phase, effects) == (Phase.ABORTING, (life.Abort(),))
    late, effects = after(aborting, (decision(ok=True, attempt=3), 101.8))
    assert (late.phase, effects) == (Phase.ABORTING, ())
    settling, effects = after(late, (life.NotLaunched("aborted"), 101.9))
    assert settling.phase is Phase.SETTLING
    assert effects == (life.Tell(ReportKind.NOT_LAUNCHED, "aborted"),)


def test_a_run_that_was_given_up_meanwhile_is_told_as_not_launched_so_that_its_places_are_free() -> None:
    aborting, effects = after(asked(), (decision(ok=False, lost=True), 99.8))
    assert (aborting.phase, effects) == (Phase.ABORTING, (life.Abort(),))
    settling, effects = after(aborting, (life.NotLaunched("aborted"), 99.9))
    assert effects == (life.Tell(ReportKind.NOT_LAUNCHED, "aborted"),)
    # The ledger had it as claimed; LAUNCHING was written late, and given up, before the claim was given back.
    settling, _ = after(settling, (life.Settled(ReportKind.NOT_LAUNCHED, True, "CLAIMED"), 100))
    settling, effects = after(settling, (life.Settled(ReportKind.RELEASED, True, "LOST"), 101))
    assert effects == (life.Tell(ReportKind.NOT_LAUNCHED, "not started"),)
    over, effects = after(settling, (life.Settled(ReportKind.NOT_LAUNCHED, True, "LOST"), 102))
    assert (over.phase, effects) == (Phase.OVER, (life.Discard(),))


def test_a_refusal_ends_the_grant_without_a_report() -> None:
    over, effects = after(asked(), (decision(ok=False, reason="overlap"), 99.8))
    assert (over.phase, effects) == (Phase.OVER, (life.Abort(), life.Discard()))


def test_a_blocked_run_is_asked_for_again_at_the_due_instant() -> None:
    ready, effects = after(asked(), (decision(ok=False, retry_at_due=True), 99.8))
    assert (ready.phase, ready.ask_at, ready.asked_at, effects) == (Phase.READY, 100.0, None, ())
    again = after(ready, (life.Asked(), 100.0), (decision(ok=True, attempt=1), 100.1))
    assert again[1] == (life.Go(at=100.0, until=102.0, number=1),)


def test_what_waits_is_given_back_when_ordered() -> None:
    settling, effects = after(fresh(), (life.Ordered("drained"), 90))
    assert settling.phase is Phase.SETTLING
    assert effects == (life.Abort(), life.Tell(ReportKind.RELEASED, "drained"))


def test_what_runs_is_stopped_when_ordered_and_its_end_is_told() -> None:
    same, effects = after(running(), (life.Ordered("user"), 110))
    assert (same.phase, effects) == (Phase.RUNNING, (life.Stop("user", 10.0),))
    settling, effects = after(same, (life.Ended(111), 111))
    assert (settling.phase, effects) == (Phase.SETTLING, (life.Tell(ReportKind.ENDED),))
    assert settling.beats, "until the end is acknowledged"
    assert not after(settling, (life.Settled(ReportKind.ENDED, True), 112))[0].beats


def test_an_end_nobody_saw_is_told_so_that_nothing_waits_for_its_places() -> None:
    settling, (told,) = after(running(), (life.EndUnknown(), 110))
    assert (settling.phase, settling.beats) == (Phase.SETTLING, True)
    assert told == life.Tell(ReportKind.ENDED, "its shim died, and the script with it")


def test_a_fenced_end_nobody_saw_is_left_to_the_reaper_who_waits_for_the_lease() -> None:
    abandoned, effects = after(replace(running(), fenced=True), (life.EndUnknown(), 110))
    assert (abandoned.phase, abandoned.beats, effects) == (Phase.ABANDONED, False, ())


def test_a_refused_start_is_killed_and_tells_nothing_more() -> None:
    forgotten, effects = after(running(), (life.Settled(ReportKind.STARTED, False), 101))
    assert forgotten.phase is Phase.FORGOTTEN
    assert effects == (life.Abort(), life.Stop("superseded", 0.0))
    assert after(forgotten, (life.Ended(102), 102)) == (
        forgotten.__class__(**{**vars(forgotten), "phase": Phase.OVER}),
        (),
    )


@pytest.mark.parametrize(("status", "told"), [("CLAIMED", ReportKind.RELEASED), ("LAUNCHING", ReportKind.NOT_LAUNCHED)])
def test_an_unanswered_launch_is_taken_back_whichever_way_the_ledger_took_it(status: str, told: ReportKind) -> None:
    settling = after(asked(), (life.Unanswered(), 101.7), (life.NotLaunched("x"), 101.8))[0]
    same, effects = after(settling, (life.Settled(ReportKind.NOT_LAUNCHED, True, status), 102))
    assert same.phase is Phase.SETTLING
    assert [e.kind for e in effects if isinstance(e, life.Tell)] == [told]
    over, effects = after(same, (life.Settled(told, True, "PENDING"), 103))
    assert (over.phase, effects) == (Phase.OVER, (life.Discard(),))


EVENTS: list[life.Event] = [
    life.Prepared(),
    life.PreparationFailed("x"),
    life.Asked(),
    decision(ok=True, attempt=1),
    decision(ok=False),
    decision(ok=False, retry_at_due=True),
    decision(ok=False, lost=True),
    life.Unanswered(),
    life.Started(1, 100.0, 1),
    life.NotLaunched("x"),
    life.Ended(101.0),
    life.EndUnknown(),
    life.Ordered("user"),
    life.Disowned(),
    life.Settled(ReportKind.STARTED, True),
    life.Settled(ReportKind.STARTED, False),
    life.Settled(ReportKind.ENDED, True),
]


def test_whatever_happens_in_whatever_order_go_follows_a_yes_and_comes_once() -> None:
    """All sequences of four events from each early phase: a start is only ever ordered by a fresh yes."""
    for start in (fresh(), asked()):
        for events in itertools.product(EVENTS, repeat=4):
            attempt, goes = start, 0
            for event in events:
                before = attempt
                attempt, effects = decide(attempt, event, now=100.0)
                for effect in effects:
                    if isinstance(effect, life.Go):
                        goes += 1
                        assert before.phase is Phase.ASKING
                        assert isinstance(event, life.Decided)
                        assert event.decision.ok
            assert goes <= 1
