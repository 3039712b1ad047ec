"""Runs a case, in memory or on a broker, and tells what is not as expected."""

from collections.abc import Sequence
from dataclasses import dataclass

from kirby.testing import running
from kirby.testing.case import Case
from kirby.testing.comparing import problems
from kirby.testing.running import Outcome
from kirby.transport import Transport


@dataclass(frozen=True)
class Checked:
    """A case that was run: what its script left (None where there is no script), and what is wrong with that."""

    outcome: Outcome | None
    problems: Sequence[str] = ()


def check(case: Case, *, cluster: Transport | None = None, record: bool = False) -> Checked:
    """Run the case; on `cluster` its topics have a prefix of their own, and are deleted afterwards.

    Raises KirbyError for a script that is not there, and for a broker that does not answer.
    """
    if not case.given.script:
        return Checked(None)
    prefix = running.new_prefix() if cluster is not None else ""
    try:
        outcome = running.run(case.given, cluster=cluster, prefix=prefix, record=record)
    finally:
        if cluster is not None:
            running.remove(cluster, prefix=prefix)
    return Checked(outcome, problems(case, outcome))
