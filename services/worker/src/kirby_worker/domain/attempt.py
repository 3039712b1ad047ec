"""The life of one attempt on the worker, as pure decisions. Times are boot-clock seconds.

PREPARING → READY → ASKING → GOING → RUNNING → SETTLING → OVER; nothing is started before ASKING was answered with
yes, and whatever can no longer be started in time is killed and reaped (ABORTING) before NOT_LAUNCHED is told.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, NamedTuple
from uuid import UUID

from kirby_common.worker_protocol import LaunchDecision, ReportKind

START_WITHIN_S = 2.0
ASK_AHEAD_S = 0.3
ASK_AGAIN_S = 0.2

Why = Literal["timeout", "user", "fence", "superseded", "drained", "cancel_previous"]


class Ref(NamedTuple):
    run_id: UUID
    grant: int

    def __str__(self) -> str:
        return f"{self.run_id}.{self.grant}"


class Phase(StrEnum):
    PREPARING = "preparing"
    READY = "ready"
    ASKING = "asking"
    ABORTING = "aborting"
    GOING = "going"
    RUNNING = "running"
    SETTLING = "settling"
    FORGOTTEN = "forgotten"
    ABANDONED = "abandoned"
    OVER = "over"


@dataclass(frozen=True)
class Attempt:
    ref: Ref
    due: float
    phase: Phase = Phase.PREPARING
    ask_at: float = 0.0
    asked_at: float | None = None
    number: int | None = None
    fenced: bool = False
    daemon: bool = False
    grace_s: float = 10.0

    @property
    def beats(self) -> bool:
        """Until its end is acknowledged, the worker beats for it; an attempt of unknown end is the reaper's."""
        return self.phase not in (Phase.OVER, Phase.ABANDONED, Phase.FORGOTTEN)

    @property
    def waits(self) -> bool:
        return self.phase in (Phase.PREPARING, Phase.READY)

    @property
    def started(self) -> bool:
        """Its process, if there is one, has become the script or has ended."""
        return not self.waits and self.phase not in (Phase.ASKING, Phase.GOING)

    @property
    def runs(self) -> bool:
        """Takes a running place."""
        return self.phase in (Phase.ASKING, Phase.GOING, Phase.RUNNING)


def claimed(ref: Ref, *, due: float, fenced: bool = False, daemon: bool = False, grace_s: float = 10.0) -> Attempt:
    """A fresh grant."""
    return Attempt(ref, due, ask_at=due - ASK_AHEAD_S, fenced=fenced, daemon=daemon, grace_s=grace_s)


# What happens to an attempt.


@dataclass(frozen=True)
class Prepared:
    pass


@dataclass(frozen=True)
class PreparationFailed:
    reason: str


@dataclass(frozen=True)
class Asked:
    """LAUNCHING is being sent."""


@dataclass(frozen=True)
class Decided:
    decision: LaunchDecision


@dataclass(frozen=True)
class Unanswered:
    """The endpoint did not answer in time to start."""


@dataclass(frozen=True)
class Started:
    pid: int
    at: float
    number: int


@dataclass(frozen=True)
class NotLaunched:
    """The shim says that nothing was started, and that the waiting process is reaped."""

    reason: str


@dataclass(frozen=True)
class Ended:
    at: float


@dataclass(frozen=True)
class EndUnknown:
    """The shim is gone and its journal does not say how it ended."""


@dataclass(frozen=True)
class Ordered:
    """To be ended, by the ledger or because the worker drains."""

    why: Why


@dataclass(frozen=True)
class Disowned:
    """The attempt is not this worker's any more."""


@dataclass(frozen=True)
class Settled:
    """The ledger's answer to a report; `status` is the run's, as the ledger has it now."""

    kind: ReportKind
    accepted: bool
    status: str | None = None


Event = (
    Prepared
    | PreparationFailed
    | Asked
    | Decided
    | Unanswered
    | Started
    | NotLaunched
    | Ended
    | EndUnknown
    | Ordered
    | Disowned
    | Settled
)


# What is to be done about it.


@dataclass(frozen=True)
class Tell:
    kind: ReportKind
    reason: str | None = None


@dataclass(frozen=True)
class Go:
    at: float
    until: float
    number: int


@dataclass(frozen=True)
class Abort:
    """Kill and reap what waits."""


@dataclass(frozen=True)
class Stop:
    why: Why
    grace_s: float


@dataclass(frozen=True)
class Discard:
    """Nothing ran: remove its folder."""


Effect = Tell | Go | Abort | Stop | Discard
Outcome = tuple[Attempt, tuple[Effect, ...]]


def decide(attempt: Attempt, event: Event, *, now: float) -> Outcome:
    """What the attempt becomes. An event that does not fit the phase changes nothing."""
    match event:
        case Settled():
            return _settled(attempt, event)
        case Ordered(why):
            return _ordered(attempt, why)
        case Disowned():
            return _disowned(attempt)
    match attempt.phase:
        case Phase.PREPARING | Phase.READY:
            return _before_asking(attempt, event, now)
        case Phase.ASKING:
            return _asking(attempt, event, now)
        case Phase.ABORTING | Phase.GOING | Phase.RUNNING | Phase.FORGOTTEN:
            return _after_asking(attempt, event)
    return attempt, ()


def _before_asking(attempt: Attempt, event: Event, now: float) -> Outcome:
    match event:
        case Prepared() if attempt.phase is Phase.PREPARING:
            return replace(attempt, phase=Phase.READY), ()
        case PreparationFailed(reason):
            return _to(attempt, Phase.SETTLING, Abort(), Tell(ReportKind.PREPARATION_FAILED, reason))
        case Asked() if attempt.phase is Phase.READY:
            asked_at = now if attempt.asked_at is None else attempt.asked_at
            return replace(attempt, phase=Phase.ASKING, asked_at=asked_at), ()
        case NotLaunched(reason):
            return _to(attempt, Phase.SETTLING, Tell(ReportKind.RELEASED, reason))
        case EndUnknown():
            return _to(attempt, Phase.SETTLING, Tell(ReportKind.RELEASED, "the waiting process ended by itself"))
    return attempt, ()


def _asking(attempt: Attempt, event: Event, now: float) -> Outcome:
    assert attempt.asked_at is not None
    match event:
        case Decided(decision) if decision.ok:
            number = decision.attempt or 1
            until = attempt.asked_at + START_WITHIN_S
            return replace(attempt, phase=Phase.GOING, number=number), (Go(attempt.due, until, number),)
        case Decided(decision) if decision.retry_at_due:
            again = attempt.due if attempt.due > now else now + ASK_AGAIN_S
            return replace(attempt, phase=Phase.READY, ask_at=again, asked_at=None), ()
        case Unanswered() | Decided(LaunchDecision(lost=True)):
            # Once what waits is reaped, NOT_LAUNCHED is told: a lost run keeps its places until then.
            return _to(attempt, Phase.ABORTING, Abort())
        case Decided():
            return _to(attempt, Phase.OVER, Abort(), Discard())
        case NotLaunched(reason):
            return _to(attempt, Phase.SETTLING, Tell(ReportKind.NOT_LAUNCHED, reason))
        case EndUnknown():
            return _to(attempt, Phase.SETTLING, Tell(ReportKind.NOT_LAUNCHED, "the waiting process ended by itself"))
    return attempt, ()


def _after_asking(attempt: Attempt, event: Event) -> Outcome:
    match event:
        case NotLaunched() if attempt.phase is Phase.FORGOTTEN:
            return _to(attempt, Phase.OVER, Discard())
        case NotLaunched(reason):
            return _to(attempt, Phase.SETTLING, Tell(ReportKind.NOT_LAUNCHED, reason))
        case Started(number=number) if attempt.phase is Phase.GOING:
            return replace(attempt, phase=Phase.RUNNING, number=number), (Tell(ReportKind.STARTED),)
        case Ended() if attempt.phase is Phase.FORGOTTEN:
            return _to(attempt, Phase.OVER)
        case Ended():
            return _to(attempt, Phase.SETTLING, Tell(ReportKind.ENDED))
        case EndUnknown() if attempt.phase is Phase.ABORTING:
            return _to(attempt, Phase.SETTLING, Tell(ReportKind.NOT_LAUNCHED, "the waiting process ended by itself"))
        case EndUnknown() if attempt.fenced or attempt.phase is Phase.FORGOTTEN:
            return _to(attempt, Phase.ABANDONED)
        case EndUnknown():
            # What the shim had started was killed: nobody knows how far it came, but its places are free.
            return _to(attempt, Phase.SETTLING, Tell(ReportKind.ENDED, "its shim died, and the script with it"))
    return attempt, ()


def _ordered(attempt: Attempt, why: Why) -> Outcome:
    match attempt.phase:
        case Phase.PREPARING | Phase.READY:
            return _to(attempt, Phase.SETTLING, Abort(), Tell(ReportKind.RELEASED, why))
        case Phase.ASKING:
            return _to(attempt, Phase.ABORTING, Abort())
        case Phase.GOING | Phase.RUNNING:
            return attempt, (Stop(why, attempt.grace_s),)
    return attempt, ()


def _disowned(attempt: Attempt) -> Outcome:
    match attempt.phase:
        case Phase.PREPARING | Phase.READY | Phase.ASKING:
            return _to(attempt, Phase.OVER, Abort(), Discard())
        case Phase.ABORTING | Phase.GOING | Phase.RUNNING:
            return _to(attempt, Phase.FORGOTTEN, Abort(), Stop("superseded", 0.0))
        case Phase.SETTLING:
            return _to(attempt, Phase.OVER)
    return attempt, ()


def _settled(attempt: Attempt, event: Settled) -> Outcome:
    if event.kind is ReportKind.STARTED:
        return (attempt, ()) if event.accepted else _disowned(attempt)
    if event.kind is ReportKind.ENDED:
        return _to(attempt, Phase.OVER)
    if event.accepted and event.kind in (ReportKind.NOT_LAUNCHED, ReportKind.RELEASED):
        # An answer to LAUNCHING that never came leaves open which of the two the ledger has to take back.
        if event.status == "CLAIMED":
            return attempt, (Tell(ReportKind.RELEASED, "given back"),)
        if event.status == "LAUNCHING" or (event.status == "LOST" and event.kind is ReportKind.RELEASED):
            return attempt, (Tell(ReportKind.NOT_LAUNCHED, "not started"),)
    return _to(attempt, Phase.OVER, Discard())


def _to(attempt: Attempt, phase: Phase, *effects: Effect) -> Outcome:
    return replace(attempt, phase=phase), effects
