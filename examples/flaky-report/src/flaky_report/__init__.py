"""Reports on the machine it runs on, and fails every third time it is due: to see how failures look in Kirby."""

import os
import shutil
from datetime import UTC, datetime


def main() -> None:
    load = os.getloadavg()[0]
    disk = shutil.disk_usage("/")
    print(f"load {load:.2f}, {os.cpu_count()} cores, disk {disk.used / disk.total:.0%} full")
    if fails(due=due_at(), every_seconds=int(os.environ.get("REPORT_EVERY_SECONDS", "20"))):
        raise ConnectionError("the report's recipient does not answer (it never does, every third time)")
    print("report delivered")


def due_at() -> datetime:
    due = os.environ.get("KIRBY_DUE_AT")
    return datetime.fromisoformat(due) if due else datetime.now(UTC)


def fails(*, due: datetime, every_seconds: int) -> bool:
    """Due times are numbered by their interval since 1970; each third one fails."""
    return int(due.timestamp()) // every_seconds % 3 == 2
