"""How long a process that has just begun takes until it can read a State."""

import json
import os
import resource
import time

import kirby

began = time.perf_counter()
with kirby.State(os.environ["BENCH_STATE"]) as state:
    found = state.get("key-0")
    seconds = time.perf_counter() - began
    if found is None:
        raise SystemExit("key-0 is not there")
memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "memory_mb": memory_mb}))
