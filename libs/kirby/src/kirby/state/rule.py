"""The rule `fold/1`: what a State's log says, for every reader alike. Pure. docs/explanation/state.md explains it.

A log is a partitioned topic, keyed by the State's keys; all mutations of a key are in one partition, in one order.
`fold` takes what is remembered of a key (`Memory`, or None before its first mutation) and the key's next mutation, and
gives what is remembered afterwards and the mutation's outcome. It knows nothing else: no clock, no other key, no
value. So whoever folds the same records, from the log's begin or from a memory somebody else has folded, arrives at
the same.

The rule, in its order:

1. A mutation whose (writer, n) is remembered is a repeat: nothing happens, its outcome is the first one's.
2. A mutation of a run, from an older grant than one that is remembered of the same run, is REJECTED.
   So is one whose n is below another's of the same writer that is remembered: a writer counts upwards.
3. A mutation that expects another version than the key has is a CONFLICT. Version 0 is a key that was never set.
4. A restore of a version that the key has not had yet is an ABSENT.
5. Everything else is APPLIED: the key's version goes up by one. A deletion is a version too.

APPLIED, CONFLICT and ABSENT are remembered, the last 16 of each key. A rejection is not: it would push out what it is
rejected by. A changed rule is another rule, with another name; a reader stops at a name that it does not know.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

RULE = "fold/1"
REMEMBERED = 16


class Writer(NamedTuple):
    """Who appends: a process, of an attempt of a run. Outside of runs `run` is empty and `grant` 0."""

    run: str
    grant: int
    process: str


class Op(StrEnum):
    """What a mutation does."""

    SET = "set"
    DELETE = "delete"
    RESTORE = "restore"


class Verdict(StrEnum):
    """What became of a mutation."""

    APPLIED = "applied"
    CONFLICT = "conflict"
    ABSENT = "absent"
    REJECTED = "rejected"


class Outcome(NamedTuple):
    """What became of a mutation, and the key's version right after it."""

    verdict: Verdict
    version: int


class Entry(NamedTuple):
    """A mutation that is remembered."""

    writer: Writer
    n: int
    outcome: Outcome


class Memory(NamedTuple):
    """All that folding a key's next mutation needs of the earlier ones.

    `offset` is that of the last mutation folded, whatever became of it; `value_offset` that of the record with the
    key's value, None when the key is deleted or was never set. `recent` has the newest entry last.
    """

    version: int
    offset: int
    value_offset: int | None
    recent: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What the rule looks at of a mutation: who, its number, what it wants and expects."""

    writer: Writer
    n: int
    op: Op
    expect: int | None = None
    restores: int | None = None
    leaves_value: bool = True
    """Whether the key has a value afterwards: not after a deletion, nor after a restore of one."""


class Folded(NamedTuple):
    """What is remembered after a mutation, and its outcome. `repeat`: it had been folded before."""

    memory: Memory
    outcome: Outcome
    repeat: bool = False

    @property
    def applied(self) -> bool:
        """Whether this very mutation made a version: a repeat never does."""
        return self.outcome.verdict is Verdict.APPLIED and not self.repeat


_NOTHING = Memory(version=0, offset=-1, value_offset=None, recent=())


def fold(memory: Memory | None, step: Step, offset: int) -> Folded:
    """The rule `fold/1`. `offset` is the mutation's in its partition, above that of the memory."""
    version, _, value_offset, recent = before = memory or _NOTHING
    writer, n = step.writer, step.n
    older = False
    # One who follows itself has neither: what is remembered of a writer counts upwards, and was not rejected.
    follows_itself = recent and recent[-1].n < n and recent[-1].writer == writer
    for entry in () if follows_itself else recent:
        if entry.writer == writer:
            if entry.n == n:
                return Folded(before._replace(offset=offset), entry.outcome, repeat=True)
            older = older or entry.n > n
        elif writer.run and entry.writer.run == writer.run:
            older = older or entry.writer.grant > writer.grant
    if older:
        return Folded(before._replace(offset=offset), Outcome(Verdict.REJECTED, version))
    outcome = _judge(version, step)
    if outcome.verdict is Verdict.APPLIED:
        value_offset = offset if step.leaves_value else None
    entries = (*recent[1 - REMEMBERED :], Entry(writer, n, outcome))
    return Folded(Memory(outcome.version, offset, value_offset, entries), outcome)


def _judge(version: int, step: Step) -> Outcome:
    if step.expect is not None and step.expect != version:
        return Outcome(Verdict.CONFLICT, version)
    if step.restores is not None and not 1 <= step.restores <= version:
        return Outcome(Verdict.ABSENT, version)
    return Outcome(Verdict.APPLIED, version + 1)
