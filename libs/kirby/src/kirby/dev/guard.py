"""The guard: ends everything when the `kirby dev` that started it is gone. Standard library only.

Each line on its standard input says which process group came ("+PID") or went ("-PID"). The end of the input is the
death of the parent, however it died: the groups get two seconds to end by themselves (the kernel has told them), then
they are killed.
"""

import contextlib
import os
import signal
import sys
import time

_GRACE_S = 2.0


def main() -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline and any(_alive(group) for group in groups):
        time.sleep(0.05)
    for group in groups:
        _kill(group)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _kill(group: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(group, signal.SIGKILL)


main()
