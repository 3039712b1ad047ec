"""What an idle suite takes: proportional set size and processor time of every part and all its children."""

import time
from pathlib import Path

import psutil

from bench.figure import Figure
from bench.suite import Suite

SECONDS = 60


def measure(suite: Suite) -> list[Figure]:
    roots = {name: int(part["pid"]) for name, part in suite.parts().items()}
    roots["kirby dev"] = int((suite.home / "lock").read_text())
    trees = {name: _tree(pid, but=set(roots.values()) - {pid}) for name, pid in roots.items()}
    before = {name: _cpu(tree) for name, tree in trees.items()}
    time.sleep(SECONDS)
    figures = []
    total_memory = total_cpu = 0.0
    for name, tree in trees.items():
        memory = sum(_pss_mb(process.pid) for process in tree)
        cpu = (_cpu(tree) - before[name]) / SECONDS * 100
        total_memory += memory
        total_cpu += cpu
        figures.append(Figure(f"idle {name}: memory (PSS)", memory, "MB"))
        figures.append(Figure(f"idle {name}: processor", cpu, "% of a core"))
    return [
        Figure("idle, everything: memory (PSS)", total_memory, "MB", "≤ 850", note=f"over {SECONDS} s, no demo"),
        Figure("idle, everything: processor", total_cpu, "% of a core", "≤ 5", note=f"over {SECONDS} s, no demo"),
        *figures,
    ]


def _tree(pid: int, *, but: set[int]) -> list[psutil.Process]:
    """The process and what it started, without other parts and what they started."""
    process = psutil.Process(pid)
    below = [p for child in process.children() if child.pid not in but for p in _tree(child.pid, but=but)]
    return [process, *below]


def _cpu(tree: list[psutil.Process]) -> float:
    spent = 0.0
    for process in tree:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system
    return spent


def _pss_mb(pid: int) -> float:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024
