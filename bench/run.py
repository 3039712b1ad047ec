"""`make bench`: measures everything, or what is named, and writes results.json and results.md.

make bench
make bench ARGS="trigger command"

What is not measured this time keeps its former row, with the day of its own.
"""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import machine, report
from bench.figure import Figure, Measurement
from bench.figures import (
    claims,
    command,
    dataplane,
    failover,
    flood,
    following,
    idle,
    lateness,
    lineage,
    peers,
    replays,
    schedules,
    starting,
    state,
    trigger,
)
from bench.report import Row
from bench.suite import Suite, new_suite

ALONE: Mapping[str, Callable[[], list[Figure]]] = {
    "starting": starting.measure,
    "bare limit": peers.bare_limit,
    "cron": peers.cron,
    "celery": peers.celery,
    "apscheduler": peers.apscheduler,
    "state restore": state.restore,
}
ON_A_SUITE: Mapping[str, Measurement] = {
    "idle": idle.measure,
    "command": command.measure,
    "trigger": trigger.measure,
    "following": following.measure,
    "flood": flood.measure,
    "replays": replays.measure,
    "claims": claims.measure,
    "lateness": lateness.measure_alone,
    "lineage": lineage.measure,
    "dataplane": dataplane.measure,
    "dataplane quix": dataplane.quix,
    "dataplane faust": dataplane.faust,
    "keyed": dataplane.keyed,
    "state": state.measure,
}
"""On a suite as `kirby dev` starts it, one after the other."""
ON_ONE_OF_ITS_OWN: Mapping[str, tuple[Measurement, Mapping[str, str], tuple[str, ...]]] = {
    "lateness armed": (partial(lateness.measure_together, "armed"), lateness.ROOM, ()),
    "lateness plain": (partial(lateness.measure_together, "plain"), lateness.ROOM | {"KIRBY_ARMED": "0"}, ()),
    "failover": (failover.measure, lateness.ROOM, ("--supervisors", "2")),
    "schedules": (schedules.measure, {}, ()),
}


class Bench:
    """Takes one group of figures after the other; one that can't be had must not cost the others."""

    def __init__(self, wanted: set[str]) -> None:
        self._wanted = wanted
        self.rows: list[Row] = []
        self.missing: dict[str, str] = {}

    def wants(self, *groups: str) -> bool:
        return not self._wanted or not self._wanted.isdisjoint(groups)

    def take(self, group: str, measure: Callable[[], list[Figure]]) -> None:
        if not self.wants(group):
            return
        print(f"{group} …", flush=True)
        load = os.getloadavg()[0]
        try:
            found = measure()
        except Exception as error:
            self.missing[group] = f"{type(error).__name__}: {error}".replace("\n", " ")[:300]
            print(f"  not measured: {self.missing[group]}", flush=True)
            return
        at = datetime.now(UTC).isoformat(timespec="minutes")
        for figure in found:
            print(f"  {figure.name}: {figure.value:.4g} {figure.unit}", flush=True)
            self.rows.append(Row(group, figure, measured_at=at, load=load))


def main(wanted: list[str]) -> int:
    known = {*ALONE, *ON_A_SUITE, *ON_ONE_OF_ITS_OWN}
    unknown = set(wanted) - known
    if unknown:
        print(f"no such figure: {', '.join(sorted(unknown))}; there are: {', '.join(sorted(known))}")
        return 2
    bench = Bench(set(wanted))
    described = None
    for group, alone in ALONE.items():
        bench.take(group, alone)
    if bench.wants(*ON_A_SUITE):
        with new_suite() as suite:
            described = machine.describe(suite)
            for group, measure in ON_A_SUITE.items():
                bench.take(group, partial(measure, suite))
    for group, (measure, env, options) in ON_ONE_OF_ITS_OWN.items():
        with ExitStack() as stack:

            def on_its_own(
                measure: Measurement = measure,
                env: Mapping[str, str] = env,
                options: tuple[str, ...] = options,
                stack: ExitStack = stack,
            ) -> list[Figure]:
                suite: Suite = stack.enter_context(new_suite(env=env, options=options))
                return measure(suite)

            bench.take(group, on_its_own)
    report.write(bench.rows, machine=described, missing=bench.missing, order=[*ALONE, *ON_A_SUITE, *ON_ONE_OF_ITS_OWN])
    return 1 if bench.missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
