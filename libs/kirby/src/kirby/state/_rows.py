"""A key's row: what the rule remembers of it, and its value. Pure."""

from kirby.state.records import Latest, Mutation
from kirby.state.rule import Folded, fold


def fold_row(before: Latest | None, mutation: Mutation, *, offset: int, at_ms: int) -> tuple[Latest, Folded]:
    """The row after a mutation, and what the rule made of it. `at_ms`: when Kafka took it."""
    folded = fold(None if before is None else before.memory, mutation.step, offset)
    if folded.applied:
        return Latest(folded.memory, mutation.value, mutation.by, at_ms), folded
    if before is None:
        return Latest(folded.memory, None, "", 0), folded
    return Latest(folded.memory, before.value, before.by, before.at_ms), folded
