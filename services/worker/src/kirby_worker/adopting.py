"""What a starting worker does with the attempts of its former incarnation, before it claims anything."""

import asyncio
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from kirby_common.clock import Clock
from kirby_common.worker_protocol import HeldAttempt, ReportKind

from kirby_worker.adapters import shims
from kirby_worker.adapters.home import Home, journal
from kirby_worker.adapters.processes import is_alive, is_of_this_boot, kill_leftovers
from kirby_worker.adapters.shims import ShimChannel, ShimGone
from kirby_worker.caring import Carer
from kirby_worker.desk import Desk, Held
from kirby_worker.domain import attempt as life
from kirby_worker.domain.attempt import Attempt, Phase, Ref
from kirby_worker.preparing import Kept
from kirby_worker.shim import processes

log = structlog.get_logger()

_ANSWER_S = 2.0
_DYING_S = 2.0


class Adopter:
    def __init__(self, *, home: Home, desk: Desk, carer: Carer, clock: Clock) -> None:
        self._home = home
        self._desk = desk
        self._carer = carer
        self._clock = clock

    async def adopt_all(self, inherited: Sequence[HeldAttempt]) -> None:
        """Live shims are adopted, ends found in journals are told, leftovers killed, the rest given back or left."""
        held = {Ref(a.run_id, a.grant): a for a in inherited}
        for ref, folder in self._home.run_folders():
            await self._adopt(ref, folder, held.pop(ref, None))
        for ref, attempt in held.items():
            # Without a folder nothing was prepared, or the home was wiped: then only the reaper can tell.
            if attempt.status == "CLAIMED":
                self._give_back(ref)

    async def _adopt(self, ref: Ref, folder: Path, held: HeldAttempt | None) -> None:
        facts = journal(folder)
        if is_alive(facts):
            if await self._adopt_live(ref, folder, facts):
                return
            facts = journal(folder)
        kill_leftovers(ref, facts)
        if "go" in facts and "not_launched" not in facts:
            log.info("run.found_ended", run=str(ref), known="ended" in facts)
            adopted = self._desk.add(Held(_attempt(ref, Phase.RUNNING)))
            self._carer.ship(adopted, resumed=True).writer_gone()
            self._carer.conclude(adopted)
        elif is_of_this_boot(facts) or (held is not None and held.status == "CLAIMED"):
            # Told even if the ledger has given it up meanwhile: its places are free then.
            self._give_back(ref)
        else:
            # After a reboot the journal may have lost its end: then only the reaper can tell.
            shutil.rmtree(folder, ignore_errors=True)

    async def _adopt_live(self, ref: Ref, folder: Path, facts: Mapping[str, dict[str, Any]]) -> bool:
        """False when the shim has ended meanwhile, or is about to."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                shim = await shims.connect(folder, pid=int(facts["prepared"]["shim"]))
                state = await anext(shim.messages(), None)
        except (ShimGone, TimeoutError):
            state = None
        if state is None or state["t"] != "state":
            await self._wait_for_death(folder)
            return False
        self._take_over(ref, shim, state)
        return True

    def _take_over(self, ref: Ref, shim: ShimChannel, state: dict[str, Any]) -> None:
        kept = Kept.model_validate(state["keep"])
        waiting = state["phase"] == "waiting"
        goes = state["attempt"] is not None
        phase = Phase.RUNNING if not waiting else Phase.GOING if goes else Phase.ABORTING
        attempt = _attempt(ref, phase, number=state["attempt"], kept=kept)
        held = self._desk.add(Held(attempt, kept=kept, facts={k: state[k] for k in ("attempt", "pid", "started_at")}))
        log.info("run.adopted", run=str(ref), phase=phase)
        if phase is Phase.RUNNING:
            self._carer.ship(held, resumed=True)
            self._desk.carry_out(held, life.Tell(ReportKind.STARTED))
        self._carer.adopt(held, shim)
        if phase is Phase.ABORTING:
            shim.send({"t": "abort"})

    async def _wait_for_death(self, folder: Path) -> None:
        deadline = self._clock.boot() + _DYING_S
        while is_alive(journal(folder)) and self._clock.boot() < deadline:  # noqa: ASYNC110 - Not our child.
            await asyncio.sleep(0.02)
        if is_alive(facts := journal(folder)):
            # It neither answers nor ends: what it is the parent of ends with it.
            processes.send_signal(int(facts["prepared"]["shim"]), signal.SIGKILL)
            while is_alive(facts):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def _give_back(self, ref: Ref) -> None:
        """Nothing was started: the ledger's answer says whether LAUNCHING has to be taken back or the claim."""
        held = self._desk.add(Held(_attempt(ref, Phase.SETTLING)))
        self._desk.carry_out(held, life.Tell(ReportKind.NOT_LAUNCHED, "the worker was restarted"))


def _attempt(ref: Ref, phase: Phase, *, number: int | None = None, kept: Kept | None = None) -> Attempt:
    if kept is None:
        return Attempt(ref, due=0.0, phase=phase, number=number)
    return Attempt(
        ref, due=0.0, phase=phase, number=number, fenced=kept.fenced, daemon=kept.daemon, grace_s=kept.grace_s
    )
