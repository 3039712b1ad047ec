"""Which runs start from an interpreter that is up already, and how many of those a worker keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INTERPRETER_BYTES = 24 * 1024 * 1024
"""What a waiting interpreter and its shim take at most, before they share anything."""
KEEP_FREE = 0.1
SOON_S = 0.1
"""An interpreter that is begun later than this before its run would delay it rather than hasten it."""

_READ_EARLY = ("HOME", "LANG", "LANGUAGE", "TZ", "GLIBC_TUNABLES")
_READ_EARLY_LIKE = ("LC_", "LD_", "MALLOC_", "PYTHON")
_CODE_OF_THE_USER = ("LD_PRELOAD", "LD_AUDIT")
_MERE_VALUES = frozenset(
    {
        "PYTHONASYNCIODEBUG",
        "PYTHONCOERCECLOCALE",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONFAULTHANDLER",
        "PYTHONHASHSEED",
        "PYTHONINTMAXSTRDIGITS",
        "PYTHONIOENCODING",
        "PYTHONMALLOC",
        "PYTHONOPTIMIZE",
        "PYTHONTRACEMALLOC",
        "PYTHONUNBUFFERED",
        "PYTHONUTF8",
    }
)


@dataclass(frozen=True)
class Load:
    """All that an interpreter is brought up with: the command without the run's own arguments, and what Python and
    the C library read of the environment before they run anything. Equal loads can stand in for one another."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]

    @property
    def python(self) -> str:
        return self.argv[0]

    def message(self) -> dict[str, Any]:
        """For the shim."""
        return {"argv": list(self.argv), "env": dict(self.env)}


def load_for(command: Sequence[str], env: Mapping[str, str]) -> Load | None:
    """None when the environment would have the interpreter run the user's code while it waits: start plainly."""
    early = {n: v for n, v in env.items() if n in _READ_EARLY or n.startswith(_READ_EARLY_LIKE)}
    if any(n in _CODE_OF_THE_USER or (n.startswith("PYTHON") and n not in _MERE_VALUES) for n in early):
        return None
    return Load(tuple(command), tuple(sorted(early.items())))


@dataclass(frozen=True)
class Memory:
    """Of the machine, or of the control group if that has less."""

    free: int
    total: int


def may_wait(waiting: int, *, most: int, memory: Memory) -> bool:
    """Whether one more interpreter may be brought up."""
    return waiting < most and memory.free - INTERPRETER_BYTES >= memory.total * KEEP_FREE
