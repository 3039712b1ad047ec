"""Kafka's default partitioner, for those who must know where a key lies without asking a client."""


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit murmur2 hash, as a positive int."""
    length = len(data)
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ length) & mask
    for i in range(0, length - length % 4, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k ^= k >> 24
        h = (h * m & mask) ^ (k * m & mask)
    tail = data[length - length % 4 :]
    if tail:
        h ^= int.from_bytes(tail, "little")
        h = h * m & mask
    h ^= h >> 13
    h = h * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


def partition_for(key: bytes, partitions: int) -> int:
    return murmur2(key) % partitions
