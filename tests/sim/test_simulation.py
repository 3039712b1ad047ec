"""A thousand seeds hold, each bug that is planted is found, and a seed replays exactly."""

import pytest

from tests.sim.planted import PLANTED, Planted, find
from tests.sim.world import Simulation, simulate

SEEDS, PARTS = 1000, 4


@pytest.mark.parametrize("part", range(PARTS))
def test_the_promise_holds_under_every_seed(part: int) -> None:
    size = SEEDS // PARTS
    results = [simulate(seed) for seed in range(part * size, (part + 1) * size)]
    # A simulation in which nothing goes on would hold as well.
    assert sum(r.starts for r in results) > 10 * size
    assert sum(r.faults for r in results) > 3 * size


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_planted_bug_is_found(planted: Planted) -> None:
    assert find(planted) is not None


def test_a_seed_replays_exactly() -> None:
    first, second = Simulation(7), Simulation(7)
    assert first.run() == second.run()
    assert first.loop.trace == second.loop.trace
