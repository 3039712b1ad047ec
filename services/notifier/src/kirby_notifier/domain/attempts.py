"""What comes of an attempt to deliver: delivered, again later, or given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

State = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What one attempt met. `final`: asking again would change nothing."""

    delivered: bool
    final: bool = False
    status: int | None = None
    error: str | None = None
    response: str | None = None


@dataclass(frozen=True)
class Next:
    state: State
    delay: timedelta = timedelta(0)


def judge_answer(status: int, *, response: str) -> Outcome:
    """What an HTTP answer means, as Standard Webhooks says: 2xx is taken, 410 is "stop", the rest is "again"."""
    if 200 <= status < 300:
        return Outcome(delivered=True, status=status, response=response)
    if 300 <= status < 400:
        error = f"answered {status}, a redirect; redirects are not followed: configure the final URL"
        return Outcome(delivered=False, final=True, status=status, error=error, response=response)
    if status == 410:
        error = "answered 410: it wants no more messages"
        return Outcome(delivered=False, final=True, status=status, error=error, response=response)
    return Outcome(delivered=False, status=status, error=f"answered {status}", response=response)


def after(outcome: Outcome, *, attempt: int, delays: Sequence[timedelta]) -> Next:
    """What to do after attempt number `attempt` (from 1); the n-th delay follows the n-th attempt."""
    if outcome.delivered:
        return Next("delivered")
    if outcome.final or attempt > len(delays):
        return Next("failed")
    return Next("pending", delays[attempt - 1])
