"""Writes to a shared State, one by one and pipelined, and looks into its copy."""

import json
import os
import time

import kirby

KEYS = 1000
COUNT = int(os.environ["BENCH_COUNT"])
ONE_BY_ONE = 300
prices = kirby.State("bench-shared", create=True)
keys = [f"key-{n}" for n in range(KEYS)]
prices.set(keys[0], {"euro": 1.0})

writes_ms = []
for number in range(ONE_BY_ONE):
    began = time.perf_counter()
    prices.set(keys[number % KEYS], {"euro": number / 100})
    writes_ms.append((time.perf_counter() - began) * 1000)

began = time.perf_counter()
for _ in range(COUNT // KEYS):
    with prices.pipelined():
        for number, key in enumerate(keys):
            prices.set(key, {"euro": number / 100})
pipelined = COUNT // KEYS * KEYS / (time.perf_counter() - began)

gets = COUNT * 10 // KEYS
began = time.perf_counter()
for _ in range(gets):
    for key in keys:
        prices.get(key)
print(json.dumps({"writes_ms": writes_ms, "pipelined": pipelined, "gets": gets * KEYS / (time.perf_counter() - began)}))
prices.close()
