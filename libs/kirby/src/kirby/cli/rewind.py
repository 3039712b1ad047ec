"""`kirby rewind`: process stored messages again."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from kirby.cli import backfill_progress
from kirby.cli.errors import UsageError
from kirby.cli.moments import moment
from kirby.cli.options import Force, Home, Output, connect
from kirby.cli.rewind_progress import code_of, told, watched
from kirby.cli.show import print_item, print_table

app: App = App(name="rewind", help="Process stored messages again; what comes of it is flagged as a re-run.")


@app.default
def rewind(
    target: Annotated[str, Parameter(help="A topic, for the daemons that read it; or a job.")],
    /,
    *,
    from_: Annotated[
        str,
        Parameter(
            name="--from", allow_leading_hyphen=True, help="The first instant: 2026-03-01, or -1h for an hour ago."
        ),
    ],
    to: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="The instant at which the range has ended; default: all.")
    ] = None,
    env: Annotated[
        str | None, Parameter(help="The environment; without one the topic is the broker's name, prefix included.")
    ] = None,
    job: Annotated[str | None, Parameter(help="Of a topic's readers only this one.")] = None,
    rate: Annotated[float | None, Parameter(help="So many messages a second at most.")] = None,
    mode: Annotated[
        Literal["in-place", "shadow"],
        Parameter(help="In shadow a run beside the daemon writes to topics of its own, to be compared and promoted."),
    ] = "in-place",
    partly: Annotated[bool, Parameter(negative="", help="Do what is left when older messages are gone.")] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Only show what it would do and touch.")] = False,
    detach: Annotated[bool, Parameter(negative="", help="Do not watch it to its end.")] = False,
    yes: Force = False,
    home: Home = None,
    output: Output = "table",
) -> int:
    """Process again what a topic's readers, or a job, have processed; on a terminal it asks first.

    The replicas of each daemon drain, their group moves back, and they start again: live messages wait until then. In
    shadow, live work goes on; `kirby rewinds compare`, `promote` and `drop` do the rest. Of a scheduled job the due
    times run again. Exits 1 unless all is done.
    """
    body = {
        "target": target,
        "env": env,
        "job": job,
        "from": moment(from_, option="--from"),
        "to": None if to is None else moment(to, option="--to"),
        "rate": rate,
        "mode": mode,
        "partly": partly,
    }
    with connect(home) as client:
        if dry_run or (not yes and sys.stdin.isatty()):
            preview = client.post("/rewinds/preview", body, timeout=120)
            if dry_run:
                _show(preview, output=output)
                return 0
            _ask(preview)
        made = client.post("/rewinds", body, timeout=120)
        if made["backfill"] is not None:
            return _backfilled(client, made["backfill"], detach=detach, output=output)
        rewinds = made["items"] if detach else watched(client, made["items"])
    if output == "json":
        print_item({"items": rewinds}, output=output)
    else:
        for one in rewinds:
            print(told(one))
            if one["state"] == "ready":
                print(f"  kirby rewinds compare {one['id'][:8]} shows what differs; promote or drop it then")
    return 0 if detach else code_of(rewinds)


def _backfilled(client: Any, backfill: dict[str, Any], *, detach: bool, output: str) -> int:
    if not detach:
        backfill = backfill_progress.watched(client, backfill)
    if output == "json":
        print_item({"items": [], "backfill": backfill}, output=output)
    else:
        print(backfill_progress.told(backfill))
    return 0 if detach else backfill_progress.code_of(backfill)


def _ask(preview: Mapping[str, Any]) -> None:
    for line in _sentences(preview):
        print(line, file=sys.stderr)
    if input("Start it? [y/N]: ").strip().lower() not in {"y", "yes"}:
        raise UsageError("Nothing was started")


def _show(preview: Mapping[str, Any], *, output: str) -> None:
    if output == "json":
        return print_item(preview, output=output)
    for line in _sentences(preview):
        print(line)
    rows = [
        [one["job"], one["env"], part["topic"], str(part["partition"]), str(part["from"]), str(part["to"])]
        for one in preview["items"]
        for part in one["parts"]
    ]
    if rows:
        print_table(rows, ["JOB", "ENV", "TOPIC", "PARTITION", "FROM", "TO"])


def _sentences(preview: Mapping[str, Any]) -> list[str]:
    if preview["backfill"] is not None:
        backfill = preview["backfill"]
        return [f"{backfill['job']}@{backfill['env']}: {backfill['to_run']} due times run again, flagged as a re-run"]
    return [line for one in preview["items"] for line in _of(one)]


def _of(one: Mapping[str, Any]) -> list[str]:
    lasts = f", {one['lasts_s']:.0f} s at that rate" if one["lasts_s"] is not None else ""
    if one["mode"] == "shadow":
        return _of_shadow(one, lasts)
    touched = [*one["touched_topics"], *one["touched_jobs"], *one["touched_others"]]
    return [
        f"{one['job']}@{one['env']}: {one['messages']} messages are processed again{lasts}; live ones wait meanwhile",
        f"  touched: {', '.join(touched) if touched else 'nothing that is known'}",
        *(f"  note: {warning}" for warning in one["warnings"]),
    ]


def _of_shadow(one: Mapping[str, Any], lasts: str) -> list[str]:
    """Nothing is touched before it is promoted."""
    touched = [*one["touched_topics"], *one["touched_jobs"], *one["touched_others"]]
    return [
        f"{one['job']}@{one['env']}: {one['messages']} messages are processed again in shadow{lasts}; live ones go on",
        f"  touched when it is promoted: {', '.join(touched) if touched else 'nothing that is known'}",
        *(f"  note: {warning}" for warning in one["warnings"]),
    ]
