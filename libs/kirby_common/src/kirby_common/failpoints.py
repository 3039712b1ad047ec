"""Failpoints: named places where a test can make a service die, stall or fail at the worst moment.

`KIRBY_FAILPOINT=name:action[,name:action…]` with the actions `kill9` (SIGKILL to itself), `pause:SECONDS` (SIGSTOP's
likeness: nothing of the process runs meanwhile), `delay:SECONDS` (only this coroutine waits) and `error`. Read only
with `TESTING=1`. Each fires once per process; `name*:action` fires every time.

`POINTS` lists them all. In a shim `delay` pauses, and "once" means the run's first grant.
"""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

log = structlog.get_logger()


class FailpointError(OSError):
    """What the action `error` raises: an I/O error, as the real ones are."""


class BadFailpoint(ValueError):
    """KIRBY_FAILPOINT can't be read."""


@dataclass(frozen=True)
class _Action:
    kind: str
    seconds: float
    always: bool


POINTS: Mapping[str, str] = {
    # Scheduler
    "tick.before_commit": "leader dies before COMMIT, or is paused inside the transaction",
    "tick.after_commit": "leader dies after COMMIT before produce",
    "backfill.before_commit": "leader dies before COMMIT, in the middle of a backfill",
    "rewind.after_commit": "leader dies after it has moved a group, before that is written down",
    "rules.before_commit": "tick races with pause or edit",
    "reap.before_settle": "reaper's verdict races with a beat",
    # Wherever the outbox is emptied
    "outbox.before_produce": "after COMMIT before produce; Kafka down",
    "outbox.after_produce": "after produce before mark",
    # Ledger role: committed, not answered; the last part is `claims`, `launches`, `reports`, `beats` …
    "endpoint.answer.*": "an answer is lost",
    "reports.before_successors": "ledger role dies inside the transaction that writes an end and what follows it",
    "lineage.before_commit": "recorder of lineage dies between rows and commit",
    "recorder.before_commit": "recorder dies between projection and offset",
    # Worker
    "worker.before_claim": "worker dies before the claim",
    "worker.claimed": "worker dies CLAIMED: granted, not taken up",
    "worker.ready": "worker dies CLAIMED: the run waits for its time",
    "worker.before_launching": "worker dies CLAIMED: about to ask",
    "worker.launching": "worker dies between LAUNCHING and start: answered, no shim told",
    "worker.going": "worker dies between LAUNCHING and start: the shims are told",
    # Around each report; the last part is `started`, `ended`, `not_launched`, `released`, `preparation_failed`
    "worker.telling.*": "worker dies mid-run, or after an end, before it has told",
    "worker.told.*": "worker dies mid-run, or after NOT_LAUNCHED",
    # Shim
    "shim.ready": "shim dies CLAIMED: it waits, and has said so",
    "shim.go": "shim dies between LAUNCHING and start: told, nothing written",
    "shim.before_start": "shim dies between LAUNCHING and start: written down; disk full",
    "shim.started": "shim dies mid-run",
    "shim.ended": "shim dies when all is over, neither written nor told",
}
"""Every failpoint, and which row of the launch protocol's crash table it makes happen. `x.*` is a family."""

_armed: dict[str, _Action] = {}


def arm(environment: Mapping[str, str]) -> None:
    """Reads the failpoints of this process; call once, in `main`. Raises `BadFailpoint`."""
    _armed.clear()
    text = environment.get("KIRBY_FAILPOINT", "")
    if not text:
        return
    if environment.get("TESTING", "").lower() not in {"1", "true", "yes"}:
        log.warning("failpoints.ignored", reason="TESTING is not set")
        return
    for part in text.split(","):
        name, _, action = part.strip().partition(":")
        if not is_known(name.removesuffix("*")):
            raise BadFailpoint(f"KIRBY_FAILPOINT: there is no failpoint {name!r}")
        _armed[name.removesuffix("*")] = _parse(part, action, always=name.endswith("*"))


def is_known(name: str) -> bool:
    return name in POINTS or f"{name.rpartition('.')[0]}.*" in POINTS


def _parse(part: str, action: str, *, always: bool) -> _Action:
    kind, _, seconds = action.partition(":")
    try:
        parsed = _Action(kind, float(seconds or 0), always)
    except ValueError:
        raise BadFailpoint(f"KIRBY_FAILPOINT: {part!r} has no number of seconds") from None
    if kind not in {"kill9", "pause", "delay", "error"}:
        raise BadFailpoint(f"KIRBY_FAILPOINT: {part!r} has none of the actions kill9, pause, delay, error")
    return parsed


async def hit(name: str) -> None:
    """Does what the test has armed at this place; nothing otherwise."""
    if not _armed:
        return
    action = _take(name)
    if action is None:
        return
    log.warning("failpoint.hit", name=name, action=action.kind)
    match action.kind:
        case "kill9":
            os.kill(os.getpid(), signal.SIGKILL)
        case "pause":
            time.sleep(action.seconds)  # noqa: ASYNC251 (the whole process is to stand still)
        case "delay":
            await asyncio.sleep(action.seconds)
        case _:
            raise FailpointError(f"failpoint {name}")


def _take(name: str) -> _Action | None:
    action = _armed.get(name)
    if action is not None and not action.always:
        del _armed[name]
    return action
