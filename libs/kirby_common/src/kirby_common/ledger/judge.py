"""Pure decisions about due times: which of them are run, which are told as missed or skipped, and why."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, islice

from kirby_common.ledger.policies import Policies
from kirby_common.ledger.transitions import Status
from kirby_common.ledger.walk import DueTime, Rules, next_due, walk

ATTEMPTS_AFTER_LOST = 5
"""An at_least_once run whose end is unknown is tried again up to this many attempts, or as many as its policy says."""

MAX_SINGLE_ROWS = 1000
"""More rows than this missed for one reason in one stretch become a range row."""

_AHEAD_STEP, _AHEAD_PIECE = timedelta(days=1), 50


@dataclass(frozen=True)
class Judgement:
    """One due time, or a range of `count` of them from `due_at` to `until`, and what becomes of it.

    `paused`: skipped by a pause, which may go on: its due times share a range row. `window`: the id of the exception
    that has skipped or added it.
    """

    due_at: datetime
    status: Status
    reason: str | None = None
    until: datetime | None = None
    count: int = 1
    paused: bool = False
    window: str | None = None


def judge(rules: Rules, *, after: datetime, until: datetime, now: datetime) -> list[Judgement]:
    """What becomes of every due time in (after, until], in order; pauses and long outages joined into ranges."""
    return joined(judge_each(rules, after=after, until=until, now=now), now=now)


def judge_each(
    rules: Rules, *, after: datetime, until: datetime, now: datetime, most: int | None = None
) -> list[Judgement]:
    """As `judge`, each due time by itself, and of them the first `most`."""
    judged = [_judgement(due) for due in islice(walk(rules, after=after, until=until), most)]
    late = [j for j in judged if j.status is Status.PENDING and j.due_at <= now]
    if not late:
        return judged
    seen_to = judged[-1].due_at if len(judged) == most else until
    fires = _fires(rules.policies)
    rest = (due for due in walk(rules, after=seen_to, until=now) if due.skip is None)
    following = sum(1 for _ in islice(rest, fires))
    missed = {j.due_at: j for j in _misfires(late, rules.policies, now, fires=fires - following)}
    return [missed.get(j.due_at, j) for j in judged]


def ahead(rules: Rules, *, after: datetime) -> Iterator[Judgement]:
    """The due times later than `after` and what would become of them if nobody changed the rules; without an end."""
    while (at := next_due(rules, after=after)) is not None:
        judged = judge_each(rules, after=after, until=at + _AHEAD_STEP, now=after, most=_AHEAD_PIECE)
        yield from judged
        after = judged[-1].due_at if len(judged) == _AHEAD_PIECE else at + _AHEAD_STEP


def _judgement(due: DueTime) -> Judgement:
    if due.skip is None:
        return Judgement(due.at, Status.PENDING, window=due.window)
    return Judgement(due.at, Status.SKIPPED, due.skip.reason, paused=due.skip.pause, window=due.skip.window)


def _fires(policies: Policies) -> int:
    return {"skip": 1, "fire_once": 1, "fire_all": policies.max_fires}[policies.misfire]


def _misfires(late: Sequence[Judgement], policies: Policies, now: datetime, *, fires: int) -> list[Judgement]:
    """The misfire policy over due times that have passed before they could be written down: the last `fires` count."""
    oldest = now - (policies.start_deadline if policies.misfire == "skip" else policies.catchup_window)
    cut = len(late) - max(fires, 0)
    judged = []
    for index, j in enumerate(late):
        if index < cut:
            judged.append(Judgement(j.due_at, Status.MISSED, f"no leader at that time; misfire={policies.misfire}"))
        elif j.due_at < oldest:
            window = "start_deadline" if policies.misfire == "skip" else "catchup_window"
            judged.append(Judgement(j.due_at, Status.MISSED, f"no leader at that time; older than {window}"))
        else:
            judged.append(j)
    return judged


def joined(judged: Sequence[Judgement], *, now: datetime) -> list[Judgement]:
    """Joins the due times of one pause, and those of a long outage, into ranges, none of which lies ahead of `now`."""
    return list(_joined(judged, now))


def _joined(judged: Sequence[Judgement], now: datetime) -> Iterable[Judgement]:
    alike = groupby(judged, key=lambda j: (j.status, j.reason, j.paused and j.due_at <= now, j.window))
    for (status, reason, paused, window), group in alike:
        rows = list(group)
        if paused or (status is Status.MISSED and len(rows) > MAX_SINGLE_ROWS):
            yield Judgement(
                rows[0].due_at, status, reason, until=rows[-1].due_at, count=len(rows), paused=paused, window=window
            )
        else:
            yield from rows


def retry_delay(policies: Policies, *, attempt: int, random: float) -> timedelta:
    """How long after attempt number `attempt` (from 1) the next one may start; `random` is in [0, 1)."""
    retry = policies.retry
    match retry.kind:
        case "constant":
            return min(retry.delay, retry.cap)
        case "exponential":
            seconds = min(retry.delay.total_seconds() * 2.0 ** min(attempt - 1, 60), retry.cap.total_seconds())
            return timedelta(seconds=seconds)
        case "random":
            return min(retry.delay, retry.cap) * random


def may_retry(
    policies: Policies, *, attempt: int, exit_code: int | None, lost: bool, next_start: timedelta | None
) -> bool:
    """Whether the retry policy names this end; `next_start`: how long after the first start the next would be."""
    retry = policies.retry
    if lost and policies.delivery == "at_least_once":
        return attempt < max(retry.attempts, ATTEMPTS_AFTER_LOST)
    if lost or attempt >= retry.attempts:
        return False
    if retry.duration is not None and next_start is not None and next_start > retry.duration:
        return False
    return retry.exit_codes is None or exit_code in retry.exit_codes
