"""Shadow rewinds in the ledger: what a rewind goes through once its run has reached the end.

    running ──► comparing ──► ready ──► promoting ──► promoted
                    ▲           │ │                        (back to ready where a step fails, with the reason)
                    └───────────┘ └───► dropping ───► dropped, or cancelled

Each step but the dropping is a run of the same context, whose id follows from the rewind's and the step's number: a
leader that does it again makes no second one. What a cancelled or failed one wrote is dropped, too, or can be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from kirby_common.ledger import contexts, ids
from kirby_common.ledger.materialise import database_now
from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.policies import Policies, Retry
from kirby_common.ledger.rewinds import RewindRow, amend, locked
from kirby_common.ledger.runs import NewRun, insert_runs, read
from kirby_common.ledger.transitions import ENDED
from kirby_common.ledger.triggers import drain

KIND = "shadow"
_DEADLINE = timedelta(hours=1)
_AGAIN = Retry(attempts=3, delay=timedelta(seconds=5))


@dataclass(frozen=True)
class Step:
    """A run of a shadow: of the script itself, or of what the SDK does with what it wrote.

    `entry` None is the script's own. Safe to repeat are the SDK's own steps.
    """

    variables: Mapping[str, str]
    entry: str | None = None
    args: Sequence[str] | None = None

    def policies(self, context: Policies) -> Policies:
        """The context's, but beside its runs, and without what is meant for a live one."""
        mine: dict[str, Any] = {
            "overlap": "allow", "concurrency": None, "timeout": None, "max_duration": None, "retry": Retry(),
            "start_deadline": _DEADLINE, "delivery": "at_most_once",
        }  # fmt: skip
        if self.entry is not None:
            mine |= {"delivery": "at_least_once", "retry": _AGAIN}
        return context.model_copy(update=mine)


async def compare(tx: Tx, rewind_id: UUID, *, by: str) -> RewindRow:
    """Have it compared anew. Raises `Conflict`, `NoSuchRewind`."""
    row = await locked(tx, rewind_id, verb="compared", states=("ready",))
    return await amend(tx, row, state="comparing", run_id=None, reason=None, changed_by=by)


async def promote(tx: Tx, rewind_id: UUID, *, by: str) -> RewindRow:
    """What it made becomes part of the originals; then it is dropped. Raises `Conflict`, `NoSuchRewind`."""
    row = await locked(tx, rewind_id, verb="promoted", states=("ready",))
    return await amend(tx, row, state="promoting", run_id=None, reason=None, changed_by=by)


async def drop(tx: Tx, rewind_id: UUID, *, by: str) -> RewindRow:
    """Its topics, States and group are deleted. Raises `Conflict`, `NoSuchRewind`."""
    row = await locked(tx, rewind_id, verb="dropped", states=("comparing", "ready", "failed"))
    if row.mode != "shadow":
        return await locked(tx, rewind_id, verb="dropped", states=())
    return await amend(tx, row, state="dropping", wanted="run", changed_by=by)


async def compared(tx: Tx, rewind_id: UUID, found: Mapping[str, Any], *, run_id: UUID) -> bool:
    """Keep what the run has found; False unless it is the rewind's own, which compares it now."""
    row = await locked(tx, rewind_id, verb="compared", states=("comparing", "ready"))
    if row.run_id != run_id:
        return False
    await amend(tx, row, comparison=dict(found))
    return True


async def begin(tx: Tx, row: RewindRow, step: Step, *, offers_prefix: str, **values: Any) -> RewindRow | None:
    """Insert the next run of it, and write `values` besides. None when its job is not there any more."""
    found = await contexts.load(tx, [row.context_id])
    if not found:
        return None
    context = found[0]
    key = ids.shadow_key(row.id, row.runs + 1)
    new = NewRun(
        id=ids.run_id(context.id, KIND, key), kind=KIND, key=key, context=context, fire_at=await database_now(tx),
        variables=step.variables, args=step.args, entry=step.entry, rerun=True, requested_by=row.requested_by,
        policies=step.policies(context.policies),
    )  # fmt: skip
    await insert_runs(tx, [new], offers_prefix=offers_prefix)
    return await amend(tx, row, run_id=new.id, runs=row.runs + 1, **values)


async def end(tx: Tx, row: RewindRow, *, offers_prefix: str) -> bool:
    """Have its run end; True once there is none."""
    run = None if row.run_id is None else await read(tx, row.run_id, lock=True)
    if run is None or run.status in ENDED:
        return True
    await drain(tx, run, "drained", now=await database_now(tx), offers_prefix=offers_prefix)
    return False
