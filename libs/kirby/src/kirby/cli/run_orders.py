"""Cancel, kill and rerun, of one run or of many: which are meant, what each answers, and the exit code."""

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kirby.cli.client import Client, Refused, ref
from kirby.cli.errors import CommandError, ExitCode, UsageError
from kirby.cli.options import connect
from kirby.cli.run_refs import run_id_of, told
from kirby.cli.show import print_item, print_json

WAITING = ("PENDING", "CLAIMED", "RETRYING")
STARTED = ("LAUNCHING", "RUNNING")
OVER = ("SUCCEEDED", "FAILED", "KILLED", "LOST", "MISSED", "SKIPPED", "CANCELLED")


@Parameter(name="*")
@dataclass(frozen=True)
class Chosen:
    """Which runs are meant when none are named."""

    job: Annotated[str | None, Parameter(help="Without RUN: those of this job.")] = None
    env: Annotated[str | None, Parameter(help="Without RUN: those in this environment.")] = None
    status: Annotated[str | None, Parameter(help="Without RUN: those with one of these, joined by commas.")] = None
    since: Annotated[str | None, Parameter(help="Without RUN: those made since this instant.")] = None
    backfill: Annotated[str | None, Parameter(help="Without RUN: those of this backfill.")] = None
    most: Annotated[int, Parameter(help="Without RUN: so many at most.")] = 1000

    def query(self) -> dict[str, str]:
        named = {"job": self.job, "env": self.env, "status": self.status, "since": self.since}
        given = {**named, "backfill": self.backfill}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Order:
    """`possible`: the statuses in which a run can be told to."""

    verb: str
    possible: Sequence[str]
    body: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None


def ordered(
    runs: Sequence[str], choice: Chosen | None, order: Order, *, yes: bool, home: Path | None, output: str
) -> ExitCode:
    """Gives the order to each run; a refusal stops no other, and makes the exit code."""
    choice = choice or Chosen()
    query = choice.query()
    if bool(runs) == bool(query):
        raise UsageError(
            f"Name the runs to {order.verb}, or choose them by --job, --env, --status, --since, --backfill"
        )
    with connect(home) as client:
        ids = [run_id_of(client, run) for run in runs] or _chosen(client, query, order, most=choice.most, yes=yes)
        answers, code = [], ExitCode.OK
        for run_id in ids:
            try:
                answers.append(client.post(f"/runs/{ref(run_id)}/{order.verb}", order.body, key=order.key))
            except Refused as error:
                if len(ids) == 1:
                    raise
                print(error, file=sys.stderr)
                code = error.code
    _print(answers, order, output=output, many=not runs or len(runs) > 1)
    return code


def _chosen(client: Client, query: Mapping[str, str], order: Order, *, most: int, yes: bool) -> list[str]:
    """The runs that the options choose. Raises CommandError when nobody says yes to them."""
    asked: dict[str, Any] = {"status": ",".join(order.possible), **query}
    found = list(itertools.islice(client.pages("/runs", **asked), most))
    if not found:
        raise CommandError(f"There is no such run to {order.verb}", ExitCode.NOT_FOUND)
    if yes:
        return [run["run_id"] for run in found]
    if not sys.stdin.isatty():
        raise UsageError(f"That would {order.verb} {len(found)} runs: say --yes")
    for run in found[:10]:
        print(told(run), file=sys.stderr)
    more = f", {len(found) - 10} of them not shown" if len(found) > 10 else ""
    question = f"{order.verb.capitalize()} these {len(found)} runs{more}? [y/N]: "
    if input(question).strip().lower() not in {"y", "yes"}:
        raise UsageError("Nothing was changed")
    return [run["run_id"] for run in found]


def _print(answers: Sequence[Mapping[str, Any]], order: Order, *, output: str, many: bool) -> None:
    if output == "json" and many:
        return print_json(list(answers))
    for answer in answers:
        if output != "json" and order.verb != "rerun" and answer["ended_at"] is None:
            print(f"Its worker was told to {order.verb} it: {told(answer)}")
        else:
            print_short(answer, output=output)


def print_short(run: Mapping[str, Any], *, output: str) -> None:
    """A run in one line, or as JSON."""
    if output == "json":
        print_item(run, output=output)
    else:
        print(told(run))
