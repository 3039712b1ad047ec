"""The shim's failpoints, read from KIRBY_FAILPOINT as `kirby_common.failpoints` has it, which it can't import."""

import os
import signal
import time

_hit: set[str] = set()


def hit(name: str, *, grant: int) -> None:
    """Does what the test has armed at this place; nothing otherwise.

    A shim serves one attempt, so "once" means the run's first grant: the attempt that follows is left alone.
    """
    if os.environ.get("TESTING", "").lower() not in {"1", "true", "yes"}:
        return
    for part in os.environ.get("KIRBY_FAILPOINT", "").split(","):
        wanted, _, action = part.strip().partition(":")
        if wanted == f"{name}*" or (wanted == name and grant <= 1 and name not in _hit):
            _hit.add(name)
            _act(name, action)


def _act(name: str, action: str) -> None:
    kind, _, seconds = action.partition(":")
    if kind == "kill9":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind in ("pause", "delay"):
        time.sleep(float(seconds))
    else:
        raise OSError(f"failpoint {name}")
