"""How far a backfill is, in one line; and watching it until it ends."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from kirby.cli.client import Client, ref
from kirby.cli.errors import ExitCode

_WIDTH = 30
_GOOD = ("SUCCEEDED",)
_OVER = ("SUCCEEDED", "FAILED", "KILLED", "LOST", "MISSED", "SKIPPED", "CANCELLED")


def ended(backfill: Mapping[str, Any]) -> bool:
    return backfill["state"] in ("done", "cancelled")


def progress(backfill: Mapping[str, Any]) -> str:
    """`▇▇▇▇······ 40 of 100  38 SUCCEEDED, 2 FAILED, 1 RUNNING, 59 wait`."""
    counts, total = backfill["counts"], max(backfill["total"], 1)
    over = backfill["left_alone"] + sum(counts.get(status, 0) for status in _OVER)
    filled = min(_WIDTH * over // total, _WIDTH)
    parts = [f"{number} {status}" for status, number in sorted(counts.items()) if number]
    parts += [f"{backfill['left_alone']} left alone"] if backfill["left_alone"] else []
    parts += [f"{backfill['waiting']} wait"] if backfill["waiting"] else []
    return f"{'▇' * filled}{'·' * (_WIDTH - filled)} {over} of {backfill['total']}  {', '.join(parts)}"


def told(backfill: Mapping[str, Any]) -> str:
    """How it is, in one sentence."""
    why = f" ({backfill['reason']})" if backfill.get("reason") else ""
    return f"backfill {backfill['id']} of {backfill['job']}@{backfill['env']} is {backfill['state']}{why}"


def watched(client: Client, backfill: dict[str, Any]) -> dict[str, Any]:
    """Looks until the backfill has ended; draws a bar on a terminal. Ctrl-C stops the looking, not the backfill."""
    live = sys.stderr.isatty()
    while True:
        if live:
            print(f"\r\x1b[K{progress(backfill)}", end="", file=sys.stderr, flush=True)
        if ended(backfill):
            break
        time.sleep(0.5)
        backfill = client.get(f"/backfills/{ref(backfill['id'])}")
    if live:
        print(file=sys.stderr)
    return backfill


def code_of(backfill: Mapping[str, Any]) -> int:
    """0 when all that it ran succeeded."""
    bad = sum(number for status, number in backfill["counts"].items() if status not in _GOOD)
    return ExitCode.OK if backfill["state"] == "done" and not bad else ExitCode.FAILED
