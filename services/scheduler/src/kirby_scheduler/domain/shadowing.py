"""What the leader makes of a shadow rewind: the runs of its steps, and what their ends mean. Pure."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from kirby.shadowing import names
from kirby_common.ledger.rewind_parts import from_rows
from kirby_common.ledger.rewinds import RewindRow
from kirby_common.ledger.runs import RunRow
from kirby_common.ledger.shadows import Step
from kirby_common.ledger.transitions import ENDED, Status

ENTRY = "kirby.shadowing"


def group(row: RewindRow) -> str:
    """The group that its run reads by."""
    return names.group_of(row.group_name, names.short(str(row.id)))


def is_ours(row: RewindRow) -> Callable[[str], bool]:
    """Which topics are its own."""
    shadow = names.short(str(row.id))
    return lambda topic: names.is_of(topic, shadow, prefix=row.prefix)


def script(row: RewindRow) -> Step:
    """The script itself, which writes beside the originals."""
    return Step({names.VARIABLE: names.short(str(row.id))})


def order(row: RewindRow, name: str) -> Step:
    """What the SDK does with what the script wrote: `compare` or `promote`."""
    parts = [[part.topic, part.partition, part.start, part.to] for part in from_rows(row.parts)]
    about = {"since_ms": int(row.range_from.timestamp() * 1000), "parts": parts, "outputs": row.outputs}
    # Without the variable: it looks at what is live, and writes it.
    return Step({}, entry=ENTRY, args=[name, str(row.id), json.dumps(about)])


def after_order(row: RewindRow, run: RunRow) -> Mapping[str, Any]:
    """What the rewind is once the run that compares or promotes has ended, before anything is deleted."""
    if run.status == Status.SUCCEEDED:
        return {"state": "ready"} if row.state == "comparing" else {"state": "promoted"}
    done = "compared" if row.state == "comparing" else "promoted"
    return {"state": "ready", "reason": f"it was not {done}: {told(run)}"}


def is_over(run: RunRow | None) -> bool:
    return run is None or run.status in ENDED


def told(run: RunRow) -> str:
    """How a run ended, and where to read of it."""
    why = f" ({run.reason})" if run.reason else ""
    return f"run {run.id} is {run.status}{why}; `kirby logs {run.id}` has what it said"
