"""`python -m tests.chaos --minutes N --seed S`: real processes, real stores, random faults, and a verdict."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from random import SystemRandom

from tests.chaos.storm import Outcome, storm


def main() -> int:
    """Exits with 1 when anything was started twice, was not told of, or lost a line."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0, help="for how long faults befall it")
    parser.add_argument("--seed", type=int, help="of the plan of faults and edits; else a random one")
    asked = parser.parse_args()
    seed = SystemRandom().randrange(1_000_000) if asked.seed is None else asked.seed
    folder = Path(tempfile.mkdtemp(prefix="kirby-chaos-run-"))
    print(f"chaos: {asked.minutes:g} minutes, seed {seed}", flush=True)
    outcome = asyncio.run(storm(folder, minutes=asked.minutes, seed=seed, say=lambda line: print(line, flush=True)))
    return report(outcome, folder)


def report(outcome: Outcome, folder: Path) -> int:
    for finding in outcome.findings[:50]:
        print(f"{finding.kind}: {finding.text}")
    print("runs: " + " ".join(f"{status}={n}" for status, n in sorted(outcome.statuses.items())))
    print("faults: " + " ".join(f"{name}={n}" for name, n in sorted(outcome.faults.items())))
    for note in outcome.notes:
        print(note)
    if outcome.findings:
        print(f"the logs of all processes are kept in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    print(outcome.last_line)
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    sys.exit(main())
