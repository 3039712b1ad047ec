"""`python -m tests.soak --kills N --seed S`: processors killed with -9 under load on a Kafka of their own."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from random import SystemRandom

from tests.soak.kills import soak
from tests.stores.session import Stores


def main() -> int:
    """Exits with 1 when anything was lost, or doubled in exactly-once mode, or a State's versions have gaps."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how many times each of the three processors is killed")
    parser.add_argument("--seed", type=int, help="of the moments of the kills; else a random one")
    asked = parser.parse_args()
    seed = SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    print(f"soak: {asked.kills} kills of each processor, seed {seed}", flush=True)
    folder, stores, began = tempfile.mkdtemp(prefix="kirby-soak-"), Stores(), time.monotonic()
    try:
        stores.start(["kafka"])
        os.environ |= {"KAFKA_BOOTSTRAP_SERVERS": stores.kafka.bootstrap, "KIRBY_STATE_DIR": folder}
        outcome = soak(kills=asked.kills, seed=seed, say=lambda line: print(line, flush=True))
    finally:
        stores.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for finding in outcome.findings:
        print(finding)
    print(f"{outcome.last_line} seed={seed} minutes={(time.monotonic() - began) / 60:.1f}")
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    sys.exit(main())
