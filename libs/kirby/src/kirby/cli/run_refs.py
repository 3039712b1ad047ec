"""Which run is meant: an id, the beginning of one, or JOB@ENV for its newest."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kirby.cli.client import Client, ref
from kirby.cli.errors import CommandError, ExitCode, UsageError

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PREFIX = re.compile(r"[0-9a-f-]{4,35}")


def run_id_of(client: Client, text: str) -> str:
    """The id of the run that `text` names. Raises CommandError when there is none, or more than one."""
    wanted = text.strip().lower()
    if _ID.fullmatch(wanted):
        return wanted
    if "@" in text:
        return _newest(client, text)
    if not _PREFIX.fullmatch(wanted):
        raise UsageError(f"{text!r} is not a run: give its id, at least 4 characters of its beginning, or JOB@ENV")
    found = [run["run_id"] for run in client.pages("/runs", q=wanted, most=200) if run["run_id"].startswith(wanted)]
    if not found:
        raise CommandError(f"There is no run {text}: `kirby runs` lists them", ExitCode.NOT_FOUND)
    if len(found) > 1:
        raise UsageError(f"{text} is the beginning of {len(found)} runs ({', '.join(found[:3])} …): give more of it")
    return str(found[0])


def _newest(client: Client, text: str) -> str:
    job, _, env = text.rpartition("@")
    found = list(client.pages("/runs", job=job, env=env, most=100))
    # Runs are made ahead of their due times: the newest one that is meant has at least been started, if any was.
    for run in [run for run in found if run["started_at"] is not None] or found:
        return str(run["run_id"])
    raise CommandError(f"{text} has no run yet: `kirby trigger {job} --env {env}` starts one", ExitCode.NOT_FOUND)


def ended(client: Client, run: dict[str, Any]) -> dict[str, Any]:
    """The run once it is over; waits as long as that takes."""
    while run["ended_at"] is None:
        run = client.call("GET", f"/runs/{ref(run['run_id'])}", query={"wait": 50}, timeout=90)
    return run


def code_of(run: Mapping[str, Any]) -> int:
    """The exit code of a command that waited for the run: the script's, or 1 when it did not succeed."""
    if run["status"] == "SUCCEEDED":
        return int(run.get("exit_code") or 0)
    return int(run.get("exit_code") or 0) or 1


def is_ahead(run: Mapping[str, Any], *, now: datetime) -> bool:
    """Whether the run only waits for its due time."""
    return run["status"] in ("PENDING", "CLAIMED") and datetime.fromisoformat(run["fire_at"]) > now


def told(run: Mapping[str, Any]) -> str:
    """How a run ended, or how it is, in one line."""
    if run.get("ended_at") is None:
        return f"{run['job']}@{run['env']} is {run['status']} (run {run['run_id']})"
    took = f" after {run['duration_s']:.1f} s" if run.get("duration_s") is not None else ""
    why = f": {run['reason']}" if run.get("reason") else ""
    return f"{run['job']}@{run['env']} {run['status']}{took}{why} (run {run['run_id']})"
