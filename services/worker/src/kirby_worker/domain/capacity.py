"""How many runs the worker asks for."""

from collections.abc import Iterable
from dataclasses import dataclass

from kirby_worker.domain.attempt import Attempt, Phase

DISK_FULL = 0.9


@dataclass(frozen=True)
class Limits:
    """`places` may wait (claimed, not started), `running` scheduled scripts may run."""

    places: int
    running: int


def free_running(attempts: Iterable[Attempt], *, limits: Limits) -> int:
    """Running places that are free; daemons, which mostly wait, take none."""
    return limits.running - sum(1 for a in attempts if a.runs and not a.daemon)


def to_claim(attempts: Iterable[Attempt], *, limits: Limits, now: float, disk_used: float) -> int:
    """How many to ask for: a claimed run that is not yet due takes a waiting place but no running place."""
    if disk_used > DISK_FULL:
        return 0
    held = list(attempts)
    waiting = sum(1 for a in held if a.waits)
    due = sum(1 for a in held if a.waits and a.due <= now and not a.daemon)
    return max(0, min(limits.places - waiting, free_running(held, limits=limits) - due))


def to_ask(attempts: Iterable[Attempt], *, limits: Limits, now: float) -> list[Attempt]:
    """The ready attempts to send LAUNCHING for now, the earliest due first, as far as places go."""
    held = list(attempts)
    free = free_running(held, limits=limits)
    chosen = []
    for attempt in sorted((a for a in held if a.phase is Phase.READY and a.ask_at <= now), key=lambda a: a.due):
        if attempt.daemon:
            chosen.append(attempt)
        elif free > 0:
            free -= 1
            chosen.append(attempt)
    return chosen


def next_ask(attempts: Iterable[Attempt], *, now: float) -> float | None:
    """When the next ready attempt is to be asked for; None: none before something changes."""
    coming = [a.ask_at for a in attempts if a.phase is Phase.READY and a.ask_at > now]
    return min(coming) if coming else None
