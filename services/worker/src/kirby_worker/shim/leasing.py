"""Self-fencing: what a fenced run may do, reckoned from its worker's last acknowledged beat."""

NO_START, TERM, KILL = 0.5, 0.7, 0.9


class Lease:
    """Of use for fenced runs only; others go on however long the ledger is away."""

    def __init__(self, *, lease_s: float, fenced: bool, now: float) -> None:
        self._lease_s = lease_s
        self._fenced = fenced
        self._beat_at = now
        self._over = False

    @property
    def grace_s(self) -> float:
        return (KILL - TERM) * self._lease_s

    @property
    def next_moment(self) -> float | None:
        return self._beat_at + TERM * self._lease_s if self._fenced and not self._over else None

    def renew(self, beat_at: float) -> None:
        self._beat_at = max(self._beat_at, beat_at)

    def may_start(self, now: float) -> bool:
        return not self._fenced or now < self._beat_at + NO_START * self._lease_s

    def must_end(self, now: float) -> bool:
        """True once."""
        moment = self.next_moment
        if moment is None or now < moment:
            return False
        self._over = True
        return True
