"""`python -m tests.sim --seeds N [--first S]`, or `--seed S` to replay one with its trace."""

import argparse
import sys
import time

from tests.sim.promises import Broken, describe
from tests.sim.world import Simulation, simulate


def main() -> int:
    """Exits with 1 at the first seed under which a promise breaks."""
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one, telling what happens")
    asked = parser.parse_args()
    try:
        return _replay(asked.seed) if asked.seed is not None else _many(asked.first, asked.seeds)
    except Broken as broken:
        print(broken)
        return 1


def _replay(seed: int) -> int:
    simulation = Simulation(seed)
    try:
        result = simulation.run()
    finally:
        print(describe(simulation.loop.trace, last=100_000))
    print(f"seed {seed} holds: {result.runs} runs, {result.starts} starts, {result.faults} faults")
    return 0


def _many(first: int, count: int) -> int:
    began = time.process_time()
    runs = starts = faults = 0
    for seed in range(first, first + count):
        result = simulate(seed)
        runs, starts, faults = runs + result.runs, starts + result.starts, faults + result.faults
    spent = time.process_time() - began
    print(f"seeds={count} broken=0 runs={runs} starts={starts} faults={faults} cpu={spent:.1f}s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
