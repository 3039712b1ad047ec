"""The simulation: the decisions of Kirby in virtual time, with whatever can go wrong, from a seed.

What decides is the product's own code: which due times get rows (`materialise.plan`), which steps a run may take
(`transitions.check`), what an end means (`ends.verdict`), when silence is loss (`Watch`), what a worker does with an
attempt (`attempt.decide`), how much it takes (`capacity`), when a shim fences itself (`Lease`). Only SQL, HTTP, pipes
and processes are played: the ledger by `ledger.MemoryLedger`, which `tests/integration/ledger/test_played_ledger.py`
compares with the real one, step by step.

`python -m tests.sim --seeds 1000`, `python -m tests.sim --seed 17` replays one and prints what happened.
"""
