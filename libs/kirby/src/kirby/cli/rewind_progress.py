"""How far a rewind is, in one line; and watching some until they end."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kirby.cli.client import Client, ref
from kirby.cli.errors import ExitCode

_WIDTH = 30
_WELL = ("done", "ready", "promoted", "dropped")
_ENDED = (*_WELL, "cancelled", "failed")


def ended(rewind: Mapping[str, Any]) -> bool:
    """Whether nothing more happens by itself: a shadow that is ready waits for somebody to decide."""
    return rewind["state"] in _ENDED


def progress(rewind: Mapping[str, Any]) -> str:
    """`▇▇▇▇······ 40 of 100  running`."""
    done, total = rewind["done"], rewind["total"]
    filled = _WIDTH * done // total if total else _WIDTH if rewind["state"] in _WELL else 0
    return f"{'▇' * filled}{'·' * (_WIDTH - filled)} {done} of {total or '?'}  {doing(rewind)}"


def doing(rewind: Mapping[str, Any]) -> str:
    """Its state, and what it is drained for."""
    if rewind["state"] == "draining" and rewind["wanted"] != "run":
        return f"draining, to be {'paused' if rewind['wanted'] == 'pause' else 'cancelled'}"
    return str(rewind["state"])


def told(rewind: Mapping[str, Any]) -> str:
    """How it is, in one sentence."""
    why = f" ({rewind['reason']})" if rewind.get("reason") else ""
    how = " in shadow" if rewind["mode"] == "shadow" else ""
    return f"rewind {rewind['id']} of {rewind['job']}@{rewind['env']}{how} is {doing(rewind)}{why}"


def watched(client: Client, rewinds: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Looks until all have ended; draws a bar on a terminal. Ctrl-C stops the looking, not the rewinds."""
    return [_watched(client, rewind) for rewind in rewinds]


def _watched(client: Client, rewind: Mapping[str, Any]) -> Mapping[str, Any]:
    live = sys.stderr.isatty()
    while True:
        if live:
            print(f"\r\x1b[K{rewind['job']}@{rewind['env']} {progress(rewind)}", end="", file=sys.stderr, flush=True)
        if ended(rewind) or rewind["state"] == "paused":
            break
        time.sleep(0.5)
        rewind = client.get(f"/rewinds/{ref(rewind['id'])}")
    if live:
        print(file=sys.stderr)
    return rewind


def code_of(rewinds: Sequence[Mapping[str, Any]]) -> int:
    """0 when all are done, or ready."""
    return ExitCode.OK if all(rewind["state"] in _WELL for rewind in rewinds) else ExitCode.FAILED
