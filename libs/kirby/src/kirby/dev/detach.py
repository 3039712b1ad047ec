"""`kirby dev --detach`: start it in the background, show its lines, return when it is ready or say why it isn't."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kirby.dev.home import Home, HomeInUse


def start_detached(home: Home, options: Sequence[str]) -> int:
    """The exit code: 0 once it is ready, else its own, after saying why. Raises `HomeInUse`."""
    if (pid := home.holder()) is not None:
        raise HomeInUse(home.path, pid=pid)
    read, write = os.pipe()
    log = home.logs / "dev.log"
    before = log.stat().st_size if log.exists() else 0
    words = ["dev", "--home", str(home.path), "--report-fd", str(write), *options]
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kirby.cli.main", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            pass_fds=(write,),
        )
    os.close(write)
    if _relay(read):
        return 0
    process.wait()
    print(_since(log, before) or f"kirby dev ended with {process.returncode}", file=sys.stderr)
    return process.returncode


def _since(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace").strip()


def _relay(read: int) -> bool:
    """Prints the lines from the other side until it says that it is ready; False when it ended instead."""
    with os.fdopen(read) as lines:
        for line in lines:
            if line == "ready\n":
                return True
            print(line, end="", flush=True)
    return False
