"""Slows down guessing of passwords: some failures per (name, address), then a wait.

Counted in Redis, so that all api processes count together; in memory while Redis is away.
"""

import time
from dataclasses import dataclass, field

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger()

_TAKE = (
    "local n = redis.call('incr', KEYS[1]) if n == 1 then redis.call('expire', KEYS[1], ARGV[1]) end "
    "return {n, redis.call('ttl', KEYS[1])}"
)


@dataclass
class LoginThrottle:
    redis: Redis
    limit: int = 10
    window_s: int = 300
    _memory: dict[str, tuple[int, float]] = field(default_factory=dict)

    async def seconds_to_wait(self, *, name: str, address: str) -> int:
        """Counts an attempt; 0 when it may be made, else the seconds until the next one."""
        key = f"kirby:login:{address}:{name[:100]}"
        try:
            count, left = await self.redis.eval(_TAKE, 1, key, str(self.window_s))
        except (RedisError, OSError) as error:
            log.warning("login.throttle_in_memory", reason=str(error))
            count, left = self._count_here(key)
        return int(left) if count > self.limit else 0

    async def forget(self, *, name: str, address: str) -> None:
        """A login that succeeded starts the count anew."""
        key = f"kirby:login:{address}:{name[:100]}"
        self._memory.pop(key, None)
        try:
            await self.redis.delete(key)
        except (RedisError, OSError):
            return

    def _count_here(self, key: str) -> tuple[int, int]:
        now = time.monotonic()
        self._memory = {k: v for k, v in self._memory.items() if v[1] > now}
        count, until = self._memory.get(key, (0, now + self.window_s))
        self._memory[key] = (count + 1, until)
        return count + 1, max(1, round(until - now))
