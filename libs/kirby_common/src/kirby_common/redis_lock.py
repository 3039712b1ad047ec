"""The leader hint in Redis: `SET key holder NX PX`, renewed and released only by its holder."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

_RENEW = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end"
)
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"


class RedisLock:
    def __init__(self, redis: Redis, *, key: str = "kirby:leader") -> None:
        self._redis = redis
        self._key = key

    async def acquire(self, *, holder: str, ttl_ms: int) -> bool:
        try:
            if await self._redis.set(self._key, holder, nx=True, px=ttl_ms):
                return True
            return bool(await self._redis.eval(_RENEW, 1, self._key, holder, str(ttl_ms)))
        except RedisError as error:
            raise ConnectionError(f"Redis: {error}") from error

    async def release(self, *, holder: str) -> None:
        try:
            await self._redis.eval(_RELEASE, 1, self._key, holder)
        except RedisError as error:
            raise ConnectionError(f"Redis: {error}") from error
