"""How soon a part that ended is started again: at once the first time, then ever later, but never too late to heal."""

from dataclasses import dataclass, replace

_FIRST_S = 0.2
_LONGEST_S = 4.0
_HEALTHY_AFTER_S = 20.0


@dataclass(frozen=True)
class Backoff:
    failures: int = 0

    def after_end(self, *, ran_for_s: float) -> tuple["Backoff", float]:
        """The next state, and how long to wait before the next start."""
        failures = 1 if ran_for_s >= _HEALTHY_AFTER_S else self.failures + 1
        return replace(self, failures=failures), min(_FIRST_S * 2 ** (failures - 1), _LONGEST_S)
