"""A script that testifies: one line per start and per end, appended and synced outside Kirby."""

import os
import sys
import time


def testify(what: str, *, lines: int) -> None:
    boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    line = f"{os.environ['KIRBY_RUN_ID']} {os.environ['KIRBY_GRANT']} {os.getpid()} {boot:.6f} {what} {lines}\n"
    fd = os.open(os.environ["WITNESS_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, line.encode())
    os.fsync(fd)
    os.close(fd)


def main() -> None:
    testify("start", lines=0)
    lines = int(os.environ.get("WITNESS_LINES", "1"))
    seconds = float(os.environ.get("WITNESS_SECONDS", "0"))
    for number in range(lines):
        print(f"witness line {number}", flush=True)
        time.sleep(seconds / lines)
    testify("end", lines=lines)
    sys.exit(int(os.environ.get("WITNESS_EXIT", "0")))
