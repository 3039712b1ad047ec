"""The reaper's eyes: which attempts have not beaten for too long, by its own boot-time clock.

No two clocks are compared: an attempt is lost when its beat counter has been *watched* unchanged for 1.25
leases, while the watching itself went on. After a pause of the watcher everything is watched anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K")

PATIENCE = 1.25
"""Leases without a beat before an attempt is given up."""

LEASES_PER_LOOK = 0.05
"""Leases between two looks: with the default lease a daemon of a dead host is elsewhere within 30 s."""

LONGEST_BLINK = 0.35
"""Leases between two looks beyond which the watcher itself was away."""


@dataclass(frozen=True)
class Watch(Generic[K]):
    """What was seen: per attempt the beat counter and since when (boot seconds) it stands there."""

    lease: float
    seen: Mapping[K, tuple[int, float]] = field(default_factory=dict)
    last_look: float | None = None

    def look(self, beats: Mapping[K, int], *, now: float) -> tuple["Watch[K]", list[K]]:
        """The next watch, and the attempts that are lost. `now` is in boot seconds."""
        was_away = self.last_look is None or now - self.last_look > LONGEST_BLINK * self.lease
        before: Mapping[K, tuple[int, float]] = {} if was_away else self.seen
        seen: dict[K, tuple[int, float]] = {}
        lost: list[K] = []
        for key, beat in beats.items():
            known = before.get(key)
            since = known[1] if known is not None and known[0] == beat else now
            seen[key] = (beat, since)
            if now - since >= PATIENCE * self.lease:
                lost.append(key)
        return Watch(self.lease, seen, now), lost
