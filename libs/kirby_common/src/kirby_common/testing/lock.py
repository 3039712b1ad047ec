"""The leader hint in memory: passes the suite of `Lock` that Redis passes."""

from kirby_common.clock import Clock


class MemoryLock:
    """Shared by those who compete. `available = False` is a Redis that is away."""

    def __init__(self, clock: Clock) -> None:
        self.available = True
        self._clock = clock
        self._holder: str | None = None
        self._until = 0.0

    async def acquire(self, *, holder: str, ttl_ms: int) -> bool:
        self._must_be_there()
        now = self._clock.boot()
        if self._holder not in (None, holder) and now < self._until:
            return False
        self._holder, self._until = holder, now + ttl_ms / 1000
        return True

    async def release(self, *, holder: str) -> None:
        self._must_be_there()
        if self._holder == holder:
            self._holder = None

    def _must_be_there(self) -> None:
        if not self.available:
            raise ConnectionError("the lock in memory is away")
