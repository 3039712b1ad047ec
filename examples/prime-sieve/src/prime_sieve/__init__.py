"""Counts the primes below ten million with a sieve: a script that does nothing but compute, for a second or two."""

import sys
import time
from math import isqrt

LIMIT = 10_000_000


def main() -> None:
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else LIMIT
    start = time.perf_counter()
    found = count_primes(limit)
    print(f"{found} primes below {limit} in {time.perf_counter() - start:.2f} s")


def count_primes(limit: int) -> int:
    """How many primes are smaller than `limit`, by the sieve of Eratosthenes."""
    if limit < 3:
        return 0
    candidate = bytearray([1]) * limit
    candidate[0] = candidate[1] = 0
    for number in range(2, isqrt(limit - 1) + 1):
        if candidate[number]:
            for multiple in range(number * number, limit, number):
                candidate[multiple] = 0
    return sum(candidate)
