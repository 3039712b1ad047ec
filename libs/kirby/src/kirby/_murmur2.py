"""Kafka's default partitioner: where a key lies, without asking the driver."""

_MASK, _M = 0xFFFFFFFF, 0x5BD1E995


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit murmur2 hash, as a positive int."""
    whole = len(data) & ~3
    h = 0x9747B28C ^ len(data)
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        h = (h * _M ^ (k ^ k >> 24) * _M) & _MASK
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return (h ^ h >> 15) & 0x7FFFFFFF
