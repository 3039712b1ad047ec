"""The rule `fold/1`, by examples and by properties."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kirby.state.rule import REMEMBERED, Folded, Memory, Op, Outcome, Step, Verdict, Writer, fold

ADA = Writer("", 0, "ada")
BOB = Writer("", 0, "bob")
APPLIED, CONFLICT, ABSENT, REJECTED = Verdict.APPLIED, Verdict.CONFLICT, Verdict.ABSENT, Verdict.REJECTED


def put(writer: Writer, n: int, *, expect: int | None = None) -> Step:
    return Step(writer, n, Op.SET, expect=expect)


def delete(writer: Writer, n: int) -> Step:
    return Step(writer, n, Op.DELETE, leaves_value=False)


def restore(writer: Writer, n: int, version: int) -> Step:
    return Step(writer, n, Op.RESTORE, restores=version)


def attempt(grant: int) -> Writer:
    return Writer("run", grant, f"process {grant}")


def folded(steps: Sequence[Step], memory: Memory | None = None, first: int = 0) -> list[Folded]:
    """Each step's result, in a log of one key without holes."""
    results = []
    for offset, step in enumerate(steps, first):
        results.append(fold(memory, step, offset))
        memory = results[-1].memory
    return results


def outcomes(*steps: Step) -> list[Outcome]:
    return [result.outcome for result in folded(steps)]


def test_each_mutation_is_a_version_a_deletion_and_a_restore_too() -> None:
    assert outcomes(put(ADA, 1), put(BOB, 1), delete(ADA, 2), restore(BOB, 2, 1)) == [
        (APPLIED, 1),
        (APPLIED, 2),
        (APPLIED, 3),
        (APPLIED, 4),
    ]


def test_where_the_value_is() -> None:
    results = folded([put(ADA, 1), put(ADA, 2, expect=9), delete(ADA, 3), put(ADA, 4)])
    assert [r.memory.value_offset for r in results] == [0, 0, None, 3]


def test_of_two_who_expect_the_same_version_the_second_is_told_the_current_one() -> None:
    assert outcomes(put(ADA, 1), put(ADA, 2, expect=1), put(BOB, 1, expect=1), put(BOB, 2, expect=2)) == [
        (APPLIED, 1),
        (APPLIED, 2),
        (CONFLICT, 2),
        (APPLIED, 3),
    ]


def test_version_0_is_a_key_that_was_never_set() -> None:
    assert outcomes(put(ADA, 1, expect=0), delete(ADA, 2), put(BOB, 1, expect=0)) == [
        (APPLIED, 1),
        (APPLIED, 2),
        (CONFLICT, 2),
    ]


def test_a_repeat_has_the_first_ones_outcome_and_does_nothing() -> None:
    first, second, again, lost = folded([put(ADA, 1), put(BOB, 1, expect=0), put(ADA, 1), put(BOB, 1, expect=0)])
    assert (again.outcome, again.repeat, again.applied) == (Outcome(APPLIED, 1), True, False)
    assert (lost.outcome, lost.repeat) == (second.outcome, True)
    assert lost.memory._replace(offset=1) == second.memory
    assert first.applied


@pytest.mark.parametrize("version", [0, 2, 7])
def test_what_the_key_has_not_had_can_t_be_restored(version: int) -> None:
    assert outcomes(put(ADA, 1), restore(ADA, 2, version))[1] == (ABSENT, 1)


def test_an_older_grant_of_the_same_run_is_rejected_and_another_run_is_not() -> None:
    assert outcomes(put(attempt(1), 1), put(attempt(2), 1), put(attempt(1), 2), put(Writer("other", 1, "x"), 1)) == [
        (APPLIED, 1),
        (APPLIED, 2),
        (REJECTED, 2),
        (APPLIED, 3),
    ]


def test_an_old_attempt_does_not_push_out_what_it_is_rejected_by() -> None:
    stale = [put(attempt(1), n) for n in range(1, 3 * REMEMBERED)]
    assert {r.outcome for r in folded([put(attempt(2), 1), *stale])[1:]} == {Outcome(REJECTED, 1)}


def test_a_writer_that_counts_backwards_is_rejected() -> None:
    assert outcomes(put(ADA, 5), put(ADA, 4)) == [(APPLIED, 1), (REJECTED, 1)]


def test_the_memory_does_not_grow() -> None:
    results = folded([put(ADA, n) for n in range(1, 100)])
    assert [entry.n for entry in results[-1].memory.recent] == list(range(100 - REMEMBERED, 100))


# Properties. A writer has at most one mutation of a key under way, so it counts upwards; what is sent twice comes
# again before REMEMBERED others of that key, for the writer waits for it and nobody is so much faster.

kinds = st.sampled_from(["set", "delete", "restore", "expect", "expect current"])
writers = st.sampled_from([ADA, BOB, attempt(1), attempt(2), Writer("r2", 1, "p")])
wishes = st.lists(st.tuples(writers, kinds, st.integers(0, 6)), max_size=40)


def steps_of(wanted: Sequence[tuple[Writer, str, int]]) -> list[Step]:
    numbers: dict[Writer, int] = {}
    steps: list[Step] = []
    version = 0
    for writer, kind, number in wanted:
        n = numbers[writer] = numbers.get(writer, 0) + 1
        made = {
            "set": put(writer, n),
            "delete": delete(writer, n),
            "restore": restore(writer, n, number),
            "expect": put(writer, n, expect=number),
            "expect current": put(writer, n, expect=version),
        }[kind]
        steps.append(made)
        version = folded(steps)[-1].memory.version
    return steps


@given(wishes)
def test_versions_have_no_gaps(wanted: list[tuple[Writer, str, int]]) -> None:
    results = folded(steps_of(wanted))
    made = [r.outcome.version for r in results if r.applied]
    assert made == list(range(1, len(made) + 1))
    assert all(r.outcome.version == r.memory.version for r in results)


@given(st.lists(st.tuples(writers, st.integers(1, 6)), max_size=60))
def test_repeats_and_rejections_are_those_of_all_that_is_remembered(wanted: list[tuple[Writer, int]]) -> None:
    memory: Memory | None = None
    for offset, (writer, n) in enumerate(wanted):
        recent = memory.recent if memory else ()
        repeat = any((e.writer, e.n) == (writer, n) for e in recent)
        later = any(e.writer == writer and e.n > n for e in recent)
        later |= any(writer.run and e.writer.run == writer.run and e.writer.grant > writer.grant for e in recent)
        result = fold(memory, put(writer, n), offset)
        assert result.repeat == repeat
        assert repeat or (result.outcome.verdict is REJECTED) == later
        memory = result.memory


@given(wishes, st.data())
def test_what_comes_twice_changes_nothing(wanted: list[tuple[Writer, str, int]], data: st.DataObject) -> None:
    steps = steps_of(wanted)
    plain = folded(steps)
    log: list[Step] = []
    for number, step in enumerate(steps):
        log.append(step)
        again = data.draw(st.integers(max(0, number - REMEMBERED // 2), number))
        log += [steps[again]] * data.draw(st.integers(0, 2))
    doubled = folded(log)
    firsts = [r for n, r in enumerate(doubled) if log[n] not in log[:n]]
    assert [r.outcome for r in firsts] == [r.outcome for r in plain]
    assert [r.outcome for r in doubled if r.applied] == [r.outcome for r in plain if r.applied]
    if plain:
        assert doubled[-1].memory.recent == plain[-1].memory.recent


@given(wishes, st.integers(0, 40))
def test_a_reader_that_starts_from_a_memory_arrives_at_the_same(
    wanted: list[tuple[Writer, str, int]], cut: int
) -> None:
    steps = steps_of(wanted)
    whole = folded(steps)
    begun = folded(steps[:cut])
    memory = begun[-1].memory if begun else None
    rest = folded(steps[cut:], memory, first=min(cut, len(steps)))
    assert begun + rest == whole
