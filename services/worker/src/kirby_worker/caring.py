"""Looks after each attempt: prepares it, listens to its shim, ships its log."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from kirby_common import failpoints
from kirby_common.clock import Clock
from kirby_common.ports import Bus
from kirby_common.worker_protocol import RunGrant

from kirby_worker.adapters.home import Home, journal
from kirby_worker.adapters.shims import ShimChannel
from kirby_worker.adapters.spool import SpoolReader
from kirby_worker.adapters.vault import NoSecret
from kirby_worker.arming import Armoury
from kirby_worker.desk import Desk, Held
from kirby_worker.domain import attempt as life
from kirby_worker.domain.attempt import Phase, Ref
from kirby_worker.ports import Secrets
from kirby_worker.preparing import Kept, NotPrepared, Preparer
from kirby_worker.shipping import Shipper

log = structlog.get_logger()

_LAST = ("ended", "not_launched")


class Carer:
    """One task per attempt and one per log, all in the given group."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        *,
        desk: Desk,
        home: Home,
        armoury: Armoury,
        preparer: Preparer,
        secrets: Secrets,
        bus: Bus,
        clock: Clock,
        on_shim_lost: Callable[[], None],
    ) -> None:
        self._group = group
        self._desk = desk
        self._home = home
        self._armoury = armoury
        self._preparer = preparer
        self._secrets = secrets
        self._bus = bus
        self._clock = clock
        self._on_shim_lost = on_shim_lost

    def take(self, grant: RunGrant, held: Held) -> None:
        """A fresh grant."""
        self._group.create_task(self._serve(grant, held), name=f"run {held.attempt.ref}")

    def adopt(self, held: Held, shim: ShimChannel) -> None:
        """An attempt whose shim another worker started."""
        self._group.create_task(self._listen(held, shim), name=f"run {held.attempt.ref}")

    def ship(self, held: Held, *, resumed: bool) -> Shipper:
        """Starts to ship the attempt's log; one that a former worker began waits to hear how far it got."""
        ref = held.attempt.ref

        def seen() -> None:
            if held.shim is not None:
                held.shim.send({"t": "seen"})

        reader = SpoolReader(self._home.run_folder(ref))
        held.shipper = Shipper(ref, reader, bus=self._bus, clock=self._clock, on_read=seen, resumed=resumed)
        self._group.create_task(self._ship(ref, held.shipper), name=f"log {ref}")
        return held.shipper

    async def _serve(self, grant: RunGrant, held: Held) -> None:
        ref = held.attempt.ref
        try:
            task, held.kept, load = await self._preparer.prepare(grant)
            if held.attempt.phase is not Phase.PREPARING:
                self._desk.tidy(ref)
                return
            shim = await self._armoury.shim_for(held, task, load)
        except NotPrepared as error:
            log.warning("run.not_prepared", run=str(ref), job=grant.job, reason=str(error))
            self._desk.handle(ref, life.PreparationFailed(str(error)))
            return
        except OSError as error:
            self._desk.handle(ref, life.NotLaunched(f"the worker could not prepare it: {error}"))
            return
        shim.send(task)
        await self._listen(held, shim)

    async def _listen(self, held: Held, shim: ShimChannel) -> None:
        held.shim = shim
        if held.attempt.phase in (Phase.SETTLING, Phase.OVER):
            shim.send({"t": "abort"})
        async for message in shim.messages():
            self._on_message(held, message)
            if message["t"] == "ready":
                await failpoints.hit("worker.ready")
        held.shim = None
        shim.close()
        if held.shipper is not None:
            held.shipper.writer_gone()
        if held.facts.get("t") not in _LAST:
            self._on_shim_lost()
        self.conclude(held)

    def _on_message(self, held: Held, message: dict[str, Any]) -> None:
        ref = held.attempt.ref
        match message["t"]:
            case "ready":
                self._desk.handle(ref, life.Prepared())
            case "log":
                if held.shipper is not None:
                    held.shipper.wake()
            case "secret" if held.kept is not None:
                self._group.create_task(self._answer(held, held.kept, message["ask"]))
            case "started" | "ended" | "not_launched":
                self._take_fact(held, message)

    def _take_fact(self, held: Held, fact: dict[str, Any]) -> None:
        ref = held.attempt.ref
        held.facts = held.facts | fact
        match fact["t"]:
            case "started":
                if held.shipper is None:
                    self.ship(held, resumed=False)
                self._desk.handle(ref, life.Started(fact["pid"], fact["started_at"], fact["attempt"]))
            case "ended":
                self._desk.handle(ref, life.Ended(fact["ended_at"]))
            case "not_launched":
                self._desk.handle(ref, life.NotLaunched(fact["reason"]))

    def conclude(self, held: Held) -> None:
        """The shim is gone: what it had not told is in its journal, or unknown."""
        ref = held.attempt.ref
        facts = journal(self._home.run_folder(ref))
        for kind in ("started", "ended", "not_launched"):
            if kind in facts and held.facts.get("t") not in (kind, *_LAST):
                self._take_fact(held, facts[kind])
        if "go" not in facts and "not_launched" not in facts:
            self._desk.handle(ref, life.NotLaunched("the shim ended before the start"))
        self._desk.handle(ref, life.EndUnknown())
        if held.attempt.phase is Phase.ABANDONED:
            log.error("run.end_unknown", run=str(ref))
            self._desk.shipped_if_none(ref)

    async def _answer(self, held: Held, kept: Kept, question: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"id": question.get("id")}
        try:
            answer["value"] = await self._asked_for(kept, question)
        except NoSecret as error:
            answer |= {"error": str(error), "code": error.code}
        except KeyError:
            answer |= {"error": "a question for a secret needs a path", "code": "absent"}
        if held.shim is not None:
            held.shim.send({"t": "secret", "answer": answer})

    async def _asked_for(self, kept: Kept, question: dict[str, Any]) -> Any:
        """A secret, or the run's own token, with which the script says to the api what it reads and writes."""
        if question.get("what") == "run-token":
            return kept.run_token
        return await self._secrets.read(str(question["path"]), question.get("field"), run_token=kept.run_token)

    async def _ship(self, ref: Ref, shipper: Shipper) -> None:
        await shipper.run()
        self._desk.shipped(ref)
