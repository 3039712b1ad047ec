"""What the end of an attempt means for its run: pure verdicts."""

from dataclasses import dataclass
from datetime import timedelta
from signal import Signals

from kirby_common.durations import format_duration
from kirby_common.ledger.judge import may_retry, retry_delay
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.transitions import Status


@dataclass(frozen=True)
class End:
    """How a process ended, as its worker saw it."""

    exit_code: int | None
    signal: int | None
    killed_by: str | None = None
    reason: str | None = None
    late: bool = False


@dataclass(frozen=True)
class Verdict:
    """`status` is what the run becomes unless `retry_after` says when it is tried again.

    `attempt_status` is never LOST: that is the reaper's word for an attempt which may still be found.
    """

    status: Status
    attempt_status: Status
    reason: str | None
    retry_after: timedelta | None = None


def verdict(
    end: End,
    policies: Policies,
    *,
    attempt: int,
    daemon: bool,
    since_first_start: timedelta | None,
    kill_note: str | None,
    random: float,
) -> Verdict:
    """What an end that was seen means. `kill_note` says who asked for the kill; `random` is in [0, 1)."""
    status, reason = _status(end, policies, kill_note)
    if end.late:
        reason = f"{reason}; reported late" if reason else "reported late"
    lost = status is Status.LOST
    seen = Status.KILLED if lost else status
    retriable = status is Status.FAILED or (lost and policies.delivery == "at_least_once")
    if not retriable or daemon:
        return Verdict(status, seen, reason)
    delay = retry_delay(policies, attempt=attempt, random=random)
    next_start = None if since_first_start is None else since_first_start + delay
    if not may_retry(policies, attempt=attempt, exit_code=end.exit_code, lost=lost, next_start=next_start):
        return Verdict(status, seen, reason)
    return Verdict(status, seen, reason, retry_after=delay)


def _status(end: End, policies: Policies, kill_note: str | None) -> tuple[Status, str | None]:
    match end.killed_by:
        case "timeout":
            limit = "" if policies.timeout is None else f": ran longer than {format_duration(policies.timeout)}"
            return Status.FAILED, f"timeout{limit}"
        case "user" | "cancel_previous":
            return Status.KILLED, kill_note or f"killed: {end.killed_by}"
        case "drained" | "superseded":
            return (Status.SUCCEEDED if end.exit_code == 0 else Status.KILLED), end.killed_by
        case "fence":
            return Status.LOST, "cut off from the ledger: it ended itself before its lease was over"
        case _:
            pass
    if end.exit_code == 0:
        return Status.SUCCEEDED, None
    if end.signal is not None:
        return Status.FAILED, end.reason or f"ended by signal {end.signal} ({_signal_name(end.signal)})"
    if end.exit_code is None:
        return Status.LOST, end.reason or "its end was not seen"
    return Status.FAILED, end.reason or f"exit code {end.exit_code}"


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return "unknown"
