"""The run's states and which may follow which: the table of the launch protocol, as data."""

from enum import StrEnum


class Status(StrEnum):
    PENDING = "PENDING"
    CLAIMED = "CLAIMED"
    LAUNCHING = "LAUNCHING"
    RUNNING = "RUNNING"
    RETRYING = "RETRYING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    KILLED = "KILLED"
    LOST = "LOST"
    MISSED = "MISSED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"


S = Status
ENDED = frozenset({S.SUCCEEDED, S.FAILED, S.KILLED, S.LOST, S.MISSED, S.SKIPPED, S.CANCELLED})
"""A run in one of these is over, unless a lost one is found again."""

STARTED = frozenset({S.LAUNCHING, S.RUNNING})
"""A process may be alive."""

OCCUPYING = frozenset({S.LAUNCHING, S.RUNNING, S.RETRYING})
"""The overlap place of the context is taken; by a LOST run too, while it is unfenced."""

ALLOWED: dict[Status | None, frozenset[Status]] = {
    None: frozenset({S.PENDING, S.SKIPPED, S.MISSED}),
    S.PENDING: frozenset({S.CLAIMED, S.SKIPPED, S.CANCELLED, S.MISSED, S.FAILED}),
    S.CLAIMED: frozenset({S.PENDING, S.FAILED, S.SKIPPED, S.CANCELLED, S.MISSED, S.LAUNCHING}),
    S.SKIPPED: frozenset({S.PENDING, S.CANCELLED}),
    S.CANCELLED: frozenset(),
    # An end may be told without its start: by a worker that was away meanwhile.
    S.LAUNCHING: frozenset({S.RUNNING, S.PENDING, S.LOST, S.SUCCEEDED, S.FAILED, S.KILLED, S.RETRYING}),
    S.RUNNING: frozenset({S.SUCCEEDED, S.FAILED, S.KILLED, S.LOST, S.RETRYING}),
    S.FAILED: frozenset({S.RETRYING}),
    S.LOST: frozenset({S.RETRYING, S.RUNNING, S.SUCCEEDED, S.FAILED, S.KILLED}),
    S.RETRYING: frozenset({S.PENDING, S.CANCELLED}),
    S.SUCCEEDED: frozenset(),
    S.KILLED: frozenset(),
    S.MISSED: frozenset(),
}


class NotAllowed(RuntimeError):
    """The state table has no such step: a defect of the caller."""

    def __init__(self, before: Status | None, after: Status) -> None:
        super().__init__(f"a run never goes from {before} to {after}")
        self.before = before
        self.after = after


def check(before: Status | None, after: Status) -> None:
    """Raises `NotAllowed` for a step that the table does not have."""
    if after not in ALLOWED[before]:
        raise NotAllowed(before, after)
