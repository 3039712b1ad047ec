"""The ledger, played in memory: the same guards as the SQL, around the same decisions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any
from uuid import UUID

from kirby_api.ledger_role.claims import CLAIM_AHEAD
from kirby_api.ledger_role.reports import MAX_PREPARATIONS
from kirby_common.ledger.admission import Answer, Contender, Room, Skip, Wait, Yes
from kirby_common.ledger.ends import End, verdict
from kirby_common.ledger.ids import manual_key
from kirby_common.ledger.ids import run_id as make_id
from kirby_common.ledger.judge import judge_each, may_retry, retry_delay
from kirby_common.ledger.materialise import new_run, plan
from kirby_common.ledger.policies import Policies
from kirby_common.ledger.runs import NewRun
from kirby_common.ledger.transitions import ENDED, STARTED, Status, check
from kirby_common.ledger.walk import Rules, next_due
from kirby_common.worker_protocol import LaunchDecision, ReportKind
from kirby_scheduler.term import Deposed

BASE = datetime(2026, 1, 1, tzinfo=UTC)
S = Status
Ref = tuple[UUID, int]


def instant(seconds: float) -> datetime:
    return BASE + timedelta(seconds=seconds)


def seconds(at: datetime) -> float:
    return (at - BASE).total_seconds()


class Gone(Exception):
    """Another incarnation holds the worker's name."""


class NameTaken(Exception):
    """A living worker holds the name."""


@dataclass
class PlayedContext:
    """As much of a context as its due times and runs depend on."""

    id: UUID
    rules: Rules
    enabled: bool = True
    daemon: bool = False
    horizon: datetime | None = None
    next_due_at: datetime | None = None
    held: bool = False
    slot: dict[str, Any] = field(default_factory=dict)

    @property
    def policies(self) -> Policies:
        return self.rules.policies


@dataclass
class PlayedRun:
    id: UUID
    kind: str
    context: PlayedContext
    policies: Policies
    status: Status
    fire_at: float
    due_at: float | None
    startable_at: float | None
    deadline_at: float | None
    reason: str | None = None
    range_to: float | None = None
    range_count: int | None = None
    rev: int = 1
    grant: int = 0
    attempt: int = 0
    failed_preparations: int = 0
    worker: str | None = None
    incarnation: int | None = None
    claim_id: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    kill_why: str | None = None
    unfenced: bool = False
    waits_for: str | None = None
    let_go_at: float | None = None

    @property
    def fenced(self) -> bool:
        """Whether its process ends by itself once its worker is cut off."""
        return self.policies.delivery == "at_least_once" or self.context.daemon

    @property
    def contender(self) -> Contender:
        return Contender(
            id=self.id, context_id=self.context.id, fire_at=instant(self.fire_at), status=self.status,
            priority=self.policies.priority, attempt=self.attempt, overlap=self.policies.overlap,
            waits_for=self.waits_for, let_go_at=None if self.let_go_at is None else instant(self.let_go_at),
        )  # fmt: skip

    @property
    def has_a_say(self) -> bool:
        """Whether it holds a place, was promised one, or waits for one."""
        if self.context.daemon or self.status in ENDED:
            return self.unfenced
        waiting = self.status in (S.PENDING, S.CLAIMED)
        return not waiting or self.attempt > 0 or self.let_go_at is not None or self.waits_for is not None


@dataclass
class PlayedAttempt:
    worker: str
    incarnation: int
    claim_id: int
    boot: int
    status: str = "CLAIMED"
    beat: int = 0
    open: bool = True
    started: bool = False


@dataclass
class PlayedWorker:
    incarnation: int
    boot: int
    home: int
    last_beat: float


@dataclass(frozen=True)
class Granted:
    run_id: UUID
    grant: int
    due_in: float
    fenced: bool
    daemon: bool
    timeout: float | None


@dataclass(frozen=True)
class Told:
    """A report, as a worker tells it."""

    kind: ReportKind
    ref: Ref
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    killed_by: str | None = None
    started: bool = False


class MemoryLedger:
    """Every method is one transaction. `now` is the database's clock."""

    def __init__(self, now: Callable[[], float], random: Callable[[], float], *, lease: float) -> None:
        self.clock = now
        self.random = random
        self.lease = lease
        self.epoch, self.holder, self.lease_until = 0, "", 0.0
        self.contexts: dict[UUID, PlayedContext] = {}
        self.runs: dict[UUID, PlayedRun] = {}
        self.live: dict[UUID, PlayedRun] = {}
        self.attempts: dict[Ref, PlayedAttempt] = {}
        self.open: dict[Ref, PlayedAttempt] = {}
        self.workers: dict[str, PlayedWorker] = {}
        self.outbox: list[tuple[UUID, int]] = []
        self.on_move: Callable[[PlayedRun, Status | None], None] = lambda run, before: None
        self.on_leader_write: Callable[[int], None] = lambda epoch: None
        self.on_lost: Callable[[PlayedRun, Ref], None] = lambda run, ref: None

    # Rows and their steps.

    def _insert(self, new: NewRun) -> PlayedRun | None:
        if self._is_taken(new.id):
            return None
        context: Any = new.context
        startable = seconds(new.startable_at or new.fire_at)
        deadline = None if new.kind == "daemon" else startable + context.policies.start_deadline.total_seconds()
        run = PlayedRun(
            id=new.id, kind=new.kind, context=context, policies=context.policies, status=new.status,
            fire_at=seconds(new.fire_at), due_at=None if new.due_at is None else seconds(new.due_at),
            startable_at=startable, deadline_at=deadline, reason=new.reason,
            range_to=None if new.range_to is None else seconds(new.range_to), range_count=new.range_count,
        )  # fmt: skip
        self._keep(run)
        check(None, run.status)
        self._told(run, None)
        return run

    def _is_taken(self, run_id: UUID) -> bool:
        return run_id in self.runs

    def _keep(self, run: PlayedRun) -> None:
        self.runs[run.id] = run

    def _move(self, run: PlayedRun, to: Status, **changes: Any) -> None:
        before = run.status
        check(before, to)
        run.status = to
        self._change(run, before, changes)

    def _amend(self, run: PlayedRun, **changes: Any) -> None:
        self._change(run, run.status, changes)

    def _change(self, run: PlayedRun, before: Status, changes: dict[str, Any]) -> None:
        for name, value in changes.items():
            setattr(run, name, value)
        run.rev += 1
        self._told(run, before)

    def _told(self, run: PlayedRun, before: Status | None) -> None:
        if run.status in ENDED and run.status is not S.LOST:
            self.live.pop(run.id, None)
        else:
            self.live[run.id] = run
        self.outbox.append((run.id, run.rev))
        self.on_move(run, before)

    def _close(self, run: PlayedRun, status: str) -> None:
        self._shut((run.id, run.grant), status)

    def _shut(self, ref: Ref, status: str) -> None:
        attempt = self.attempts.get(ref)
        if attempt is not None:
            attempt.open, attempt.status = False, status
            self.open.pop(ref, None)

    @staticmethod
    def _nobody() -> dict[str, Any]:
        return {"worker": None, "incarnation": None, "claim_id": None}

    # Leaders.

    def take_lead(self, holder: str, hinted: bool, window: float) -> int | None:
        now = self.clock()
        if not hinted and self.lease_until > now:
            return None
        self.epoch += 1
        self.holder, self.lease_until = holder, now + window
        return self.epoch

    def renew_lead(self, holder: str, epoch: int, window: float) -> bool:
        if (self.epoch, self.holder) != (epoch, holder):
            return False
        self.lease_until = self.clock() + window
        return True

    def _lead(self, epoch: int) -> None:
        self._check_epoch(epoch)
        self.on_leader_write(epoch)

    def _check_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            raise Deposed(f"epoch {epoch} is over")

    def tick(self, epoch: int, look_ahead: float) -> int:
        self._lead(epoch)
        now = instant(self.clock())
        until = now + timedelta(seconds=look_ahead)
        return sum(self._materialise(c, until, now) for c in self.contexts.values() if self._is_due(c, until, now))

    @staticmethod
    def _is_due(context: PlayedContext, until: datetime, now: datetime) -> bool:
        due = context.next_due_at
        if not context.enabled or context.daemon or due is None:
            return False
        return due <= (now if context.held else until)

    def _materialise(self, context: PlayedContext, until: datetime, now: datetime) -> int:
        planned = plan(context, context.rules, until=until, now=now)  # type: ignore[arg-type]
        context.horizon, context.next_due_at, context.held = planned.horizon, planned.next_due_at, planned.held
        return sum(self._insert(row) is not None for row in self._extend(context, planned.rows))

    def _extend(self, context: PlayedContext, rows: Sequence[NewRun]) -> Sequence[NewRun]:
        """Without those that the context's last range row takes in: it grows with what goes on."""
        if not rows or not _joins(rows[0]):
            return rows
        last = self._last_range(context, rows[0])
        if last is None or (last.status, last.reason) != (rows[0].status, rows[0].reason):
            return rows
        same = list(takewhile(lambda r: _joins(r) and (r.status, r.reason) == (last.status, last.reason), rows))
        to = same[-1].range_to or same[-1].due_at
        assert to is not None
        count = (last.range_count or 1) + sum(r.range_count or 1 for r in same)
        self._amend(last, range_to=seconds(to), range_count=count)
        return rows[len(same) :]

    def _last_range(self, context: PlayedContext, first: NewRun) -> PlayedRun | None:
        mine = [r for r in self.runs.values() if r.context is context]
        last = max((r for r in mine if r.kind == "range"), key=lambda r: r.range_to or 0.0, default=None)
        if last is None or last.range_to is None or first.due_at is None or last.range_to >= seconds(first.due_at):
            return None
        beyond = last.range_to
        return None if any(r.kind == "schedule" and (r.due_at or 0.0) > beyond for r in mine) else last

    def beats(self) -> dict[Ref, int]:
        return {ref: attempt.beat for ref, attempt in self.open.items()}

    def settle(self, epoch: int, ref: Ref, beat: int) -> bool:
        """The reaper ends one silent attempt."""
        self._lead(epoch)
        run, attempt = self.runs[ref[0]], self.attempts[ref]
        if not attempt.open or attempt.beat != beat:
            return False
        if run.grant != ref[1] or run.status not in (S.CLAIMED, *STARTED):
            self._shut(ref, "LAPSED")
            return True
        self.on_lost(run, ref)
        if run.status is S.CLAIMED:
            self._close(run, "LAPSED")
            self._move(run, S.PENDING, **self._nobody())
        else:
            self._lose(run)
        return True

    def _lose(self, run: PlayedRun) -> None:
        now = self.clock()
        attempt = self.attempts[run.id, run.grant]
        rebooted = self.workers[attempt.worker].boot != attempt.boot
        self._close(run, "LOST")
        unfenced = not run.fenced and not rebooted
        self._move(run, S.LOST, reason="silent", ended_at=now, unfenced=unfenced)
        if run.context.daemon:
            return
        if self._may_retry(run):
            self._retry(run, retry_delay(run.policies, attempt=run.attempt, random=0.5))
            self._move(run, S.PENDING)

    def _may_retry(self, run: PlayedRun) -> bool:
        fenced = run.policies.delivery == "at_least_once"
        return fenced and may_retry(run.policies, attempt=run.attempt, exit_code=None, lost=True, next_start=None)

    def _retry(self, run: PlayedRun, delay: timedelta, **changes: Any) -> None:
        startable = self.clock() + delay.total_seconds()
        deadline = startable + run.policies.start_deadline.total_seconds()
        waits = {"startable_at": startable, "deadline_at": deadline, "ended_at": None, "unfenced": False}
        self._move(run, S.RETRYING, **waits, **self._nobody(), **changes)

    def sweep(self, epoch: int) -> None:
        self._lead(epoch)
        now = self.clock()
        for run in list(self.live.values()):
            if run.status is S.RETRYING and run.startable_at is not None and run.startable_at <= now + 6:
                self._move(run, S.PENDING)
            elif run.status in (S.PENDING, S.CLAIMED) and run.deadline_at is not None and run.deadline_at < now:
                if run.status is S.CLAIMED:
                    self._close(run, "REVOKED")
                self._miss(run, "not started before its deadline")
        self._let_all_go()

    def _miss(self, run: PlayedRun, reason: str) -> None:
        """A run that once started, or may have, is never called missed."""
        self._give_up(run, S.FAILED if run.attempt else S.MISSED, reason)

    def _give_up(self, run: PlayedRun, to: Status, reason: str) -> None:
        if run.status is S.CLAIMED:
            self._close(run, str(to))
        gone = {"waits_for": None, "let_go_at": None, **self._nobody()}
        self._move(run, to, reason=reason, ended_at=self.clock(), **gone)

    # What users do.

    def trigger(self, context: PlayedContext, key: str) -> UUID:
        unique = manual_key("ann", key)
        run_id = make_id(context.id, "manual", unique)
        view: Any = context
        self._insert(NewRun(id=run_id, kind="manual", key=unique, context=view, fire_at=instant(self.clock())))
        return run_id

    def cancel(self, run: PlayedRun) -> None:
        """As `triggers.kill`: one that has started is killed by its worker, another is cancelled."""
        if run.status in STARTED:
            if run.kill_why is None:
                self._amend(run, kill_why="user")
        elif run.status in (S.PENDING, S.CLAIMED, S.RETRYING):
            if run.status is S.CLAIMED:
                self._close(run, "REVOKED")
            self._move(run, S.CANCELLED, ended_at=self.clock(), **self._nobody())

    def change_rules(self, context: PlayedContext, rules: Rules, *, enabled: bool) -> list[PlayedRun]:
        """One transaction: what is due by now is judged by the old rules, the rest by the new ones."""
        now = instant(self.clock())
        for other in self.contexts.values():
            if self._is_due(other, now, now):
                self._materialise(other, now, now)
        was_enabled, context.rules, context.enabled = context.enabled, rules, enabled
        if enabled and not was_enabled:
            context.horizon = now
        return self._rejudge(context, now)

    def _rejudge(self, context: PlayedContext, now: datetime) -> list[PlayedRun]:
        rows = [r for r in self._rows_after(context, seconds(now)) if r.status not in ENDED or r.status is S.SKIPPED]
        context.held = False
        if not context.enabled:
            context.horizon = context.next_due_at = None
            return [row for row in rows if not self._unwanted(row)]
        horizon = max([context.horizon or now, now, *(instant(row.due_at or 0.0) for row in rows)])
        judged = {seconds(j.due_at): j for j in judge_each(context.rules, after=now, until=horizon, now=now)}
        for told in (r for r in self.runs.values() if r.context is context and r.range_to is not None):
            judged = {at: j for at, j in judged.items() if not (told.due_at or 0.0) <= at <= (told.range_to or 0.0)}
        too_late = []
        for row in rows:
            j = judged.pop(row.due_at or 0.0, None)
            if (j is None or j.status is S.SKIPPED) and not self._unwanted(row):
                too_late.append(row)
            elif j is not None and j.status is S.PENDING and row.status is S.SKIPPED:
                deadline = row.fire_at + context.policies.start_deadline.total_seconds()
                self._move(row, S.PENDING, reason=None, startable_at=row.fire_at, deadline_at=deadline, ended_at=None)
        for j in judged.values():
            self._insert(new_run(context, context.rules, j, now))  # type: ignore[arg-type]
        context.horizon, context.next_due_at = horizon, next_due(context.rules, after=horizon)
        return too_late

    def _rows_after(self, context: PlayedContext, now: float) -> list[PlayedRun]:
        return [r for r in self.runs.values() if r.context is context and r.kind == "schedule" and r.fire_at > now]

    def _unwanted(self, row: PlayedRun) -> bool:
        """False when it starts all the same."""
        if row.attempt:
            return False
        if row.status is not S.SKIPPED:
            if row.status is S.CLAIMED:
                self._close(row, "REVOKED")
            self._move(row, S.SKIPPED, reason="the rules changed", **self._nobody())
        return True

    # The worker endpoint.

    def hello(self, name: str, incarnation: int, boot: int, home: int) -> list[tuple[Ref, str]]:
        known = self.workers.get(name)
        same = known is not None and (known.boot, known.home) == (boot, home)
        if known is not None and not same and known.last_beat + self.lease > self.clock():
            raise NameTaken(name)
        self.workers[name] = PlayedWorker(incarnation, boot, home, self.clock())
        if known is None:
            return []
        if same:
            return self._inherit(known.incarnation, incarnation)
        for (run_id, grant), attempt in self.attempts.items():
            run = self.runs[run_id]
            there = attempt.worker == name and attempt.boot != boot and run.grant == grant
            if there and run.status is S.LOST and run.unfenced:
                # The host has booted anew: nothing of it is alive. What it gave back may be, elsewhere.
                self._amend(run, unfenced=False)
        return []

    def _inherit(self, before: int, after: int) -> list[tuple[Ref, str]]:
        held = []
        for ref, attempt in self.open.items():
            if attempt.incarnation == before:
                attempt.incarnation = after
                run = self.runs[ref[0]]
                if run.incarnation == before:
                    run.incarnation = after
                held.append((ref, attempt.status))
        return held

    def _current(self, name: str, incarnation: int) -> PlayedWorker:
        worker = self.workers.get(name)
        if worker is None or worker.incarnation != incarnation:
            raise Gone(name)
        return worker

    def claim(self, name: str, incarnation: int, claim_id: int, k: int) -> list[Granted]:
        worker = self._current(name, incarnation)
        mine = [
            r for r in self.live.values()
            if r.claim_id == claim_id and r.incarnation == incarnation and r.status is S.CLAIMED
        ]  # fmt: skip
        if not mine and k:
            mine = self._take(name, worker, claim_id, k)
        return [self._granted(run) for run in mine]

    def _take(self, name: str, worker: PlayedWorker, claim_id: int, k: int) -> list[PlayedRun]:
        now = self.clock()
        ahead = now + CLAIM_AHEAD.total_seconds()
        waiting = [r for r in self.live.values() if self._is_claimable(r, now, ahead)]
        taken = sorted(waiting, key=lambda r: (r.fire_at, -r.policies.priority, r.id))[:k]
        for run in taken:
            holder = {"worker": name, "incarnation": worker.incarnation, "claim_id": claim_id}
            self._move(run, S.CLAIMED, grant=run.grant + 1, **holder)
            attempt = PlayedAttempt(name, worker.incarnation, claim_id, worker.boot)
            self.attempts[run.id, run.grant] = self.open[run.id, run.grant] = attempt
        return taken

    def _is_claimable(self, run: PlayedRun, now: float, ahead: float) -> bool:
        if run.status is not S.PENDING or run.startable_at is None:
            return False
        in_time = run.deadline_at is None or run.deadline_at > now
        return run.fire_at <= ahead and run.startable_at <= ahead and in_time

    def _granted(self, run: PlayedRun) -> Granted:
        due = max(run.fire_at, run.fire_at if run.startable_at is None else run.startable_at)
        timeout = run.policies.timeout
        return Granted(
            run.id, run.grant, due - self.clock(), run.fenced, run.context.daemon,
            None if timeout is None else timeout.total_seconds(),
        )  # fmt: skip

    def launch(self, name: str, incarnation: int, refs: Sequence[Ref]) -> list[LaunchDecision]:
        self._current(name, incarnation)
        known = {ref: self._over(ref, incarnation) for ref in refs}
        asking = sorted((ref for ref in refs if known[ref] is None), key=lambda r: self.runs[r[0]].contender.turn)
        room = self._room({self.runs[ref[0]].context.id for ref in asking})
        answers = [(ref, self._ask(room, self.runs[ref[0]])) for ref in asking]
        decided = {ref: self._admit(ref) for ref, answer in answers if isinstance(answer, Yes)}
        decided |= {ref: self._refuse(ref, answer) for ref, answer in answers if not isinstance(answer, Yes)}
        return [known[ref] or decided[ref] for ref in refs]

    def _over(self, ref: Ref, incarnation: int) -> LaunchDecision | None:
        run = self.runs[ref[0]]
        if run.grant != ref[1] or run.incarnation != incarnation:
            return _no(ref, "the grant is over")
        if run.status is S.LAUNCHING:
            return _yes(ref, run.attempt)
        return None if run.status is S.CLAIMED else _no(ref, f"the run is {run.status}", lost=run.status is S.LOST)

    def _room(self, contexts: set[UUID]) -> Room:
        mine = (r.contender for r in self.live.values() if r.context.id in contexts and r.has_a_say)
        return Room(mine, [], now=instant(self.clock()))

    def _ask(self, room: Room, run: PlayedRun) -> Answer | None:
        """None: its deadline is over."""
        if run.deadline_at is not None and self.clock() > run.deadline_at:
            return None
        return Yes() if run.context.daemon else room.at_launch(run.contender)

    def _admit(self, ref: Ref) -> LaunchDecision:
        run = self.runs[ref[0]]
        self._move(run, S.LAUNCHING, attempt=run.attempt + 1, reason=None, waits_for=None, let_go_at=None)
        self.attempts[ref].status = "LAUNCHING"
        return _yes(ref, run.attempt)

    def _refuse(self, ref: Ref, answer: Skip | Wait | None) -> LaunchDecision:
        run = self.runs[ref[0]]
        if answer is None:
            self._miss(run, "its deadline was over before it could start")
            return _no(ref, "too late")
        if self.clock() + 0.005 < run.fire_at:
            return _no(ref, answer.reason, retry_at_due=True)
        if isinstance(answer, Wait):
            self._park(run, answer)
        else:
            self._give_up(run, S.SKIPPED, answer.reason)
        return _no(ref, answer.reason)

    def _park(self, run: PlayedRun, answer: Wait) -> set[UUID]:
        """Begins to wait, or goes on to; returns who was changed besides."""
        changed = set(answer.instead_of)
        if run.status is S.CLAIMED:
            self._close(run, "RELEASED")
            waits = {"startable_at": None, "deadline_at": None, "let_go_at": None, "waits_for": answer.waits_for}
            self._move(run, S.PENDING, reason=answer.reason, **waits, **self._nobody())
        elif (run.waits_for, run.reason) != (answer.waits_for, answer.reason):
            self._amend(run, waits_for=answer.waits_for, reason=answer.reason)
            changed.add(run.id)
        for older in answer.instead_of:
            if self.runs[older].status in (S.PENDING, S.CLAIMED):
                self._give_up(self.runs[older], S.SKIPPED, "another took over")
        if answer.ends is not None and self._end(self.runs[answer.ends]):
            changed.add(answer.ends)
        return changed

    def _end(self, previous: PlayedRun) -> bool:
        if previous.status in (*STARTED, S.LOST) and previous.kill_why is None:
            self._amend(previous, kill_why="cancel_previous")
            return True
        if previous.status in (S.RETRYING, S.PENDING, S.CLAIMED):
            self._give_up(previous, S.CANCELLED, "overlap=cancel_previous")
            return True
        return False

    def _let_all_go(self) -> None:
        for _ in range(20):
            if not self._let_go():
                return

    def _let_go(self) -> int:
        """One look at those that wait."""
        waiting = [r for r in self.live.values() if r.status is S.PENDING and r.waits_for is not None]
        if not waiting:
            return 0
        room = self._room({r.context.id for r in waiting})
        changed: set[UUID] = set()
        for run in sorted(waiting, key=lambda r: r.contender.turn):
            if run.id not in changed:
                changed |= self._look_at(room, run)
        return len(changed)

    def _look_at(self, room: Room, run: PlayedRun) -> set[UUID]:
        now = self.clock()
        match room.in_line(run.contender):
            case Yes():
                deadline = now + run.policies.start_deadline.total_seconds()
                gone = {"waits_for": None, "let_go_at": now, "reason": None}
                self._amend(run, startable_at=now, deadline_at=deadline, **gone)
                return {run.id}
            case Skip(reason):
                self._give_up(run, S.SKIPPED, reason)
                return {run.id}
            case Wait() as answer:
                return self._park(run, answer)

    def report(self, name: str, incarnation: int, reports: Sequence[Told]) -> list[tuple[bool, str]]:
        """Whether each is accepted, and the status that the run has then."""
        self._current(name, incarnation)
        outcomes = []
        for told in reports:
            run = self.runs[told.ref[0]]
            outcomes.append((self._take_report(name, told, run), str(run.status)))
        return outcomes

    def _take_report(self, name: str, told: Told, run: PlayedRun) -> bool:
        attempt = self.attempts.get(told.ref)
        if attempt is None or attempt.worker != name:
            return False
        if self._is_superseded(run, told):
            if told.kind is ReportKind.ENDED and attempt.open:
                self._shut(told.ref, "SUPERSEDED")
            return False
        match told.kind:
            case ReportKind.STARTED:
                return self._started(run, attempt, self.workers[name].incarnation)
            case ReportKind.ENDED:
                return self._ended(told, run, attempt)
            case ReportKind.NOT_LAUNCHED:
                return self._not_launched(run)
            case ReportKind.RELEASED:
                if run.status is S.CLAIMED:
                    self._close(run, "RELEASED")
                    self._move(run, S.PENDING, **self._nobody())
                return True
            case _:
                return self._preparation_failed(run)

    @staticmethod
    def _is_superseded(run: PlayedRun, told: Told) -> bool:
        return run.grant != told.ref[1]

    @staticmethod
    def _is_findable(run: PlayedRun, attempt: PlayedAttempt) -> bool:
        return run.status is S.LOST and attempt.status == "LOST" and not run.fenced

    def _started(self, run: PlayedRun, attempt: PlayedAttempt, incarnation: int) -> bool:
        if run.status is S.LAUNCHING or self._is_findable(run, attempt):
            if run.status is S.LOST:
                attempt.incarnation = run.incarnation = incarnation
            self._move(run, S.RUNNING, started_at=run.started_at or self.clock(), ended_at=None, unfenced=False)
            attempt.status, attempt.open, attempt.started = "RUNNING", True, True
            self.open[run.id, run.grant] = attempt
            return True
        return run.status is S.RUNNING

    def _ended(self, told: Told, run: PlayedRun, attempt: PlayedAttempt) -> bool:
        if run.status not in (S.LAUNCHING, S.RUNNING, S.LOST):
            return run.status in ENDED or not attempt.open
        now, late = self.clock(), run.status is S.LOST
        end = End(exit_code=told.exit_code, signal=told.signal, killed_by=told.killed_by, reason=told.reason, late=late)
        since = None if run.started_at is None else timedelta(seconds=now - run.started_at)
        what = verdict(
            end, run.policies, attempt=run.attempt, daemon=run.context.daemon, since_first_start=since,
            kill_note=run.kill_why, random=self.random(),
        )  # fmt: skip
        self._close(run, str(what.attempt_status))
        started = run.started_at or (now if told.started else None)
        common = {"reason": what.reason, "started_at": started, "unfenced": False, "kill_why": None}
        if what.retry_after is not None:
            self._retry(run, what.retry_after, reason=what.reason, started_at=started, kill_why=None)
            if what.retry_after <= timedelta(0):
                self._move(run, S.PENDING)
        elif late and what.status is S.LOST:
            self._amend(run, **common)
        else:
            self._move(run, what.status, ended_at=now, **common)
        return True

    def _not_launched(self, run: PlayedRun) -> bool:
        if run.status is S.LOST:
            # It is known now that nothing was started: the places are free.
            if run.unfenced:
                self._amend(run, unfenced=False)
            return True
        if run.status is not S.LAUNCHING:
            return run.status in (S.PENDING, S.CLAIMED)
        self._close(run, "NOT_LAUNCHED")
        self._move(run, S.PENDING, attempt=run.attempt - 1, **self._nobody())
        return True

    def _preparation_failed(self, run: PlayedRun) -> bool:
        if run.status is not S.CLAIMED:
            return True
        failures = run.failed_preparations + 1
        self._close(run, "PREPARATION_FAILED")
        if failures >= MAX_PREPARATIONS:
            self._move(run, S.FAILED, failed_preparations=failures, ended_at=self.clock(), **self._nobody())
        else:
            later = self.clock() + 2.0 ** (failures - 1)
            self._move(run, S.PENDING, failed_preparations=failures, startable_at=later, **self._nobody())
        return True

    def beat(self, name: str, incarnation: int, refs: Sequence[Ref]) -> list[tuple[str, Ref, str | None]]:
        """The orders: (kill or forget, which attempt, why)."""
        self._current(name, incarnation).last_beat = self.clock()
        orders: list[tuple[str, Ref, str | None]] = []
        for ref in refs:
            attempt, run = self.attempts.get(ref), self.runs[ref[0]]
            if (
                attempt is not None
                and attempt.worker == name
                and run.grant == ref[1]
                and self._is_findable(run, attempt)
            ):
                # It goes on, wherever it was: found, once its start is known.
                if attempt.started:
                    self._started(run, attempt, incarnation)
                continue
            if attempt is None or not attempt.open or attempt.incarnation != incarnation:
                orders.append(("forget", ref, None))
                continue
            attempt.beat += 1
            if run.grant == ref[1] and run.kill_why is not None:
                orders.append(("kill", ref, run.kill_why))
        return orders


def _joins(run: NewRun) -> bool:
    return run.kind == "range" or run.status is S.MISSED


def _yes(ref: Ref, attempt: int) -> LaunchDecision:
    return LaunchDecision.model_construct(
        run_id=ref[0], grant=ref[1], ok=True, attempt=attempt, reason=None, retry_at_due=False
    )


def _no(ref: Ref, reason: str, *, retry_at_due: bool = False, lost: bool = False) -> LaunchDecision:
    return LaunchDecision.model_construct(
        run_id=ref[0], grant=ref[1], ok=False, attempt=None, reason=reason, retry_at_due=retry_at_due, lost=lost
    )
