"""How much memory there is."""

from pathlib import Path

from kirby_worker.domain.arming import Memory

_GROUPS = Path("/sys/fs/cgroup")


def memory() -> Memory:
    """What the machine has, or the control group's limit if that leaves less."""
    fields = {line.split(":")[0]: line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines()}
    machine = Memory(free=int(fields["MemAvailable"]) * 1024, total=int(fields["MemTotal"]) * 1024)
    group = _of_group()
    return group if group is not None and group.free < machine.free else machine


def _of_group() -> Memory | None:
    """None without a limit, or without control groups of the second kind."""
    try:
        own = Path("/proc/self/cgroup").read_text().splitlines()[-1].rpartition("::")[2]
        folder = _GROUPS / own.lstrip("/")
        limit = (folder / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((folder / "memory.current").read_text())
        cached = _cached((folder / "memory.stat").read_text())
    except (OSError, ValueError, IndexError):
        return None
    return Memory(free=int(limit) - used + cached, total=int(limit))


def _cached(stat: str) -> int:
    """Bytes that the kernel gives back at once."""
    return next((int(line.split()[1]) for line in stat.splitlines() if line.startswith("inactive_file ")), 0)
