"""Who may start: overlap, concurrency and limits, as a pure decision about one run after another.

Decided when LAUNCHING is written, and again for those that wait whenever a place may be free. A run *holds* the
overlap place of its context from LAUNCHING to its final status, its retries included, and a place in each of its
limits while its process may be alive. One that was let go after it had waited has its places *promised*: nobody
takes them before it, for as long as a worker is about to start it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from kirby_common.ledger.transitions import STARTED, Status

PROMISED_FOR = timedelta(seconds=10)
"""For so long a run that was let go keeps its places until a worker takes it; after that it is one among others."""

PATIENCE = timedelta(minutes=5)
"""A run that waits for longer keeps each place that is free for it, so that runs with fewer limits can't starve it."""


@dataclass(frozen=True)
class Limit:
    """At most `places` runs at once; with a `key`, for each value of that fact by itself."""

    name: str
    places: int
    key: str | None = None


@dataclass(frozen=True)
class Contender:
    """A run as admission sees it. `facts` are what a limit's key may name: `labels.customer`, `args.0`, `env` …"""

    id: UUID
    context_id: UUID
    fire_at: datetime
    status: Status
    priority: int = 0
    attempt: int = 0
    overlap: Literal["skip", "queue_one", "allow", "cancel_previous"] = "skip"
    concurrency: int | None = None
    limits: tuple[str, ...] = ()
    facts: Mapping[str, str] | None = None
    waits_for: str | None = None
    let_go_at: datetime | None = None
    backfill: bool = False

    @property
    def turn(self) -> tuple[datetime, int, UUID]:
        """The order in which runs get places: by due time, then by priority."""
        return self.fire_at, -self.priority, self.id

    @property
    def holds_overlap(self) -> bool:
        started = self.status in STARTED or self.status in (Status.RETRYING, Status.LOST)
        return started or (self.attempt > 0 and self.status in (Status.PENDING, Status.CLAIMED))

    @property
    def holds_limits(self) -> bool:
        return self.status in STARTED or self.status is Status.LOST

    @property
    def waits(self) -> bool:
        return self.status is Status.PENDING and self.waits_for is not None

    def promised(self, now: datetime) -> bool:
        if self.let_go_at is None:
            return False
        return self.status is Status.CLAIMED or (self.status is Status.PENDING and now < self.let_go_at + PROMISED_FOR)


@dataclass(frozen=True)
class Yes:
    """It may start."""


@dataclass(frozen=True)
class Skip:
    """The overlap policy gives it up."""

    reason: str


@dataclass(frozen=True)
class Wait:
    """`waits_for` names the queue; `ends`: the predecessor to be ended; `instead_of`: those that it takes over from."""

    waits_for: str
    reason: str
    ends: UUID | None = None
    instead_of: tuple[UUID, ...] = ()


Answer = Yes | Skip | Wait


class Room:
    """Who holds, was promised or waits for what. Each yes takes its places, so that a batch is decided in order."""

    def __init__(self, others: Iterable[Contender], limits: Iterable[Limit], *, now: datetime) -> None:
        self._others = {other.id: other for other in others}
        self._limits = {limit.name: limit for limit in limits}
        self._now = now

    def at_launch(self, run: Contender) -> Answer:
        """Whether the run may be launched now; a run that waits already goes first."""
        answer = self._ask(run, behind=run.let_go_at is None)
        return self._note(run, answer, yes=replace(run, status=Status.LAUNCHING))

    def in_line(self, run: Contender) -> Answer:
        """Whether a run that waits may be let go; to be asked in the order of their turns."""
        answer = self._ask(run, behind=False)
        return self._note(run, answer, yes=replace(run, waits_for=None, let_go_at=self._now))

    def _note(self, run: Contender, answer: Answer, *, yes: Contender) -> Answer:
        """Lets those that are asked after it see what became of it."""
        over: dict[str, Any] = {"status": Status.SKIPPED, "attempt": 0, "waits_for": None, "let_go_at": None}
        match answer:
            case Yes():
                self._others[run.id] = yes
            case Skip():
                self._others[run.id] = replace(run, **over)
            case Wait(waits_for=queue, instead_of=older):
                self._others[run.id] = replace(run, status=Status.PENDING, waits_for=queue, let_go_at=None)
                self._others |= {id_: replace(self._others[id_], **over) for id_ in older}
        return answer

    def _ask(self, run: Contender, *, behind: bool) -> Answer:
        """`behind`: whether those that wait already go first."""
        if run.overlap != "allow" and run.attempt == 0:
            refused = self._overlap(run, behind)
            if refused is not None:
                return refused
        return self._concurrency(run, behind) or self._full(run, behind) or Yes()

    def _overlap(self, run: Contender, behind: bool) -> Answer | None:
        """What the overlap policy says: of a predecessor that holds the place, else of one that goes first."""
        # The runs of a backfill neither take nor ask for the overlap place: its own concurrency stands in for that.
        others = (o for o in self._others.values() if self._is_mine(o, run) and not o.backfill)
        mine = sorted(others, key=lambda o: o.turn)
        holder = next((o for o in mine if o.holds_overlap), None)
        waiting = [o for o in mine if o.waits and not (run.waits and o.turn > run.turn)]
        ahead = [o for o in mine if o.turn < run.turn and (o.promised(self._now) or (behind and o.waits))]
        queue = f"context {run.context_id}"
        match run.overlap:
            case "skip" if holder is not None:
                return Skip(f"overlap=skip: run {holder.id} was still {holder.status}")
            case "queue_one" if (holder is not None or ahead) and waiting:
                return Skip(f"overlap=queue_one: run {waiting[0].id} waits already")
            case "cancel_previous":
                older = tuple(o.id for o in mine if o.turn < run.turn and (o.waits or o.promised(self._now)))
                if holder is not None:
                    return Wait(queue, f"waits for the end of run {holder.id}", holder.id, older)
                return Wait(queue, f"starts instead of run {older[0]}", instead_of=older) if older else None
            case _:
                pass
        if holder is not None:
            return Wait(queue, f"waits for the end of run {holder.id}")
        return Wait(queue, f"waits for run {ahead[0].id} to go first") if ahead else None

    def _is_mine(self, other: Contender, run: Contender) -> bool:
        return other.context_id == run.context_id and other.id != run.id

    def _concurrency(self, run: Contender, behind: bool) -> Wait | None:
        if run.concurrency is None:
            return None
        mine = [o for o in self._others.values() if self._is_mine(o, run)]
        return self._no_place(mine, run, f"job {run.context_id}", run.concurrency, "its concurrency", behind)

    def _full(self, run: Contender, behind: bool) -> Wait | None:
        for limit in [self._limits[name] for name in sorted(run.limits) if name in self._limits]:
            value = fact(run, limit)
            rivals = [o for o in self._others.values() if o.id != run.id and limit.name in o.limits]
            rivals = [o for o in rivals if fact(o, limit) == value]
            which = "" if value is None else f" for {limit.key}={value or '(none)'}"
            queue, what = f"limit {limit.name}{which}", f"limit '{limit.name}'{which}"
            refused = self._no_place(rivals, run, queue, limit.places, what, behind)
            if refused is not None:
                return refused
        return None

    def _no_place(
        self, rivals: Sequence[Contender], run: Contender, queue: str, places: int, what: str, behind: bool
    ) -> Wait | None:
        held = sum(1 for o in rivals if o.holds_limits or o.promised(self._now))
        if held >= places:
            return Wait(queue, f"{what} is full ({held} of {places})")
        ahead = [o for o in rivals if o.waits and o.turn < run.turn]
        kept = sum(1 for o in ahead if self._is_patient(o))
        if held + kept >= places or (behind and any(o.waits_for == queue for o in ahead)):
            return Wait(queue, f"{what}: others have waited longer")
        return None

    def _is_patient(self, other: Contender) -> bool:
        """Whether it has waited so long for a place that it keeps those that are free."""
        queued = (other.waits_for or "").startswith(("limit ", "job "))
        return queued and self._now - other.fire_at > PATIENCE


def fact(run: Contender, limit: Limit) -> str | None:
    """What the run has under the limit's key: empty when it has nothing there, None for a limit without a key."""
    return None if limit.key is None else (run.facts or {}).get(limit.key, "")
