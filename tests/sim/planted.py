"""Bugs, planted one at a time into the simulation or into a recorded history: each must be found.

A simulation that never fails proves little until it is seen to fail. `python -m tests.sim.planted` plants them all.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

from kirby_common.ledger.admission import Contender, Room, Yes
from kirby_common.ledger.transitions import Status
from kirby_scheduler.domain import watch
from kirby_worker.domain.attempt import Phase
from kirby_worker.shim.leasing import Lease

from tests.chaos.checker import Heard, History, Row, Stretch, judge
from tests.sim.host import Held, Shim, adopted
from tests.sim.ledger import MemoryLedger, PlayedContext, PlayedRun
from tests.sim.promises import Broken
from tests.sim.worker import Worker
from tests.sim.world import Relay, simulate

SEEDS = 400
"""A bug that no seed below this one shows counts as not found."""


@dataclass(frozen=True)
class Planted:
    """`plant` changes the code while it is entered; `show` returns what was found, or None."""

    name: str
    plant: Callable[[], AbstractContextManager[Any]]
    show: Callable[[], str | None] = field(default_factory=lambda: by_simulation)


def by_simulation() -> str | None:
    for seed in range(SEEDS):
        try:
            simulate(seed)
        except Broken as broken:
            return str(broken).splitlines()[0]
    return None


def _swap(where: Any, name: str, what: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(where, name, what)


# The ledger.


def _no_unique_key() -> AbstractContextManager[Any]:
    def keep(self: MemoryLedger, run: PlayedRun) -> None:
        run.id = uuid4() if run.id in self.runs else run.id
        self.runs[run.id] = run

    both = ExitStack()
    both.enter_context(patch.object(MemoryLedger, "_is_taken", lambda self, run_id: False))
    both.enter_context(patch.object(MemoryLedger, "_keep", keep))
    return both


def _claims_what_is_claimed(self: MemoryLedger, run: PlayedRun, now: float, ahead: float) -> bool:
    return run.status in (Status.PENDING, Status.CLAIMED) and run.startable_at is not None and run.fire_at <= ahead


def _horizon_from_now() -> AbstractContextManager[Any]:
    whole = MemoryLedger._materialise

    def materialise(self: MemoryLedger, context: PlayedContext, until: datetime, now: datetime) -> int:
        context.horizon = max(context.horizon or now, now)
        return whole(self, context, until, now)

    return patch.object(MemoryLedger, "_materialise", materialise)


# Leader and relay.


def _told_before_it_was(self: Relay) -> None:
    taken = list(self._ledger.outbox[:500])
    del self._ledger.outbox[: len(taken)]
    self.after(0.01, self._promises.produced.update, taken)
    self.after(0.4, self._flush)


# Worker and shim.


def _starts_twice() -> AbstractContextManager[Any]:
    whole = Shim._run_script

    def run_script(self: Shim, number: int) -> None:
        whole(self, number)
        whole(self, number)

    return patch.object(Shim, "_run_script", run_script)


def _gives_back_what_goes(self: Worker, ref: tuple[UUID, int], status: str | None) -> None:
    if status is None:
        self._held[ref] = Held(adopted(ref, Phase.RUNNING, None))
        self._conclude(ref)
    else:
        self._give_back(ref)


# The record.

_WHOLE = History(
    testimonies=[Heard("r1", 1, 100.0, "start"), Heard("r1", 1, 101.0, "end", 3)],
    rows=[Row("r1", "c", "schedule", "SUCCEEDED", 60.0, 1, 1, True, True)],
    stretches=[Stretch("c", 60.0, 0.0, 119.0)], lines={("r1", 1): 3},
)  # fmt: skip


def _by_checker() -> str | None:
    findings = [*judge(_WHOLE), *judge(replace(_WHOLE, lines={("r1", 1): 2}))]
    return findings[0].text if len(findings) == 1 else None


def _holds_while_known(self: Contender) -> bool:
    return self.status in (Status.LAUNCHING, Status.RUNNING, Status.RETRYING)


PLANTED = (
    Planted("runs have no unique key", _no_unique_key),
    Planted("a leader's epoch is not checked", _swap(MemoryLedger, "_check_epoch", lambda s, epoch: None)),
    Planted("a claim takes what is claimed", _swap(MemoryLedger, "_is_claimable", _claims_what_is_claimed)),
    Planted("LAUNCHING does not look at overlap", _swap(Room, "at_launch", lambda s, run: Yes())),
    Planted("any lost run is tried again", _swap(MemoryLedger, "_may_retry", lambda s, run: run.attempt < 5)),
    Planted("a former grant's report counts", _swap(MemoryLedger, "_is_superseded", staticmethod(lambda r, t: False))),
    Planted("the horizon starts at now", _horizon_from_now),
    Planted("a lost run gives its place away", _swap(Contender, "holds_overlap", property(_holds_while_known))),
    Planted("the reaper is impatient", _swap(watch, "PATIENCE", 0.3)),
    Planted("the outbox is emptied before it is told", _swap(Relay, "_flush", _told_before_it_was)),
    Planted("a shim starts its script twice", _starts_twice),
    Planted("a shim knows no 'too late'", _swap(Shim, "_is_late", lambda s: False)),
    Planted("a cut off script does not fence itself", _swap(Lease, "must_end", lambda s, now: False)),
    Planted("a new worker gives back what has started", _swap(Worker, "_adopt_one", _gives_back_what_goes)),
    Planted("a chunk of a log is dropped", nullcontext, _by_checker),
)


def find(planted: Planted) -> str | None:
    """What shows the bug; None when nothing does."""
    with planted.plant():
        return planted.show()


def main() -> int:
    found = 0
    for planted in PLANTED:
        shown = find(planted)
        found += shown is not None
        print(f"{planted.name}: {shown or 'NOT FOUND'}", flush=True)
    print(f"{len(PLANTED)} planted, {found} found")
    return 0 if found == len(PLANTED) else 1


if __name__ == "__main__":
    sys.exit(main())
