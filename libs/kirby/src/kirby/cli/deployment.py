"""What `kirby deploy` and `kirby run` send to the api, and how its answer is told."""

from collections.abc import Mapping
from typing import Any

from kirby.cli.client import Client
from kirby.cli.errors import CommandError
from kirby.cli.publishing import say


def deploy(client: Client, body: Mapping[str, Any], *, wait: float) -> dict[str, Any]:
    """POST /deployments; waits until the context is enabled. Raises CommandError when it is not."""
    what = f"{body['package_name']} {body['package_version']}"
    if wait:
        say(f"Registering {body['job']}@{body['env']}: {what}, and waiting for a worker to resolve it …")
    answer = client.post("/deployments", body, timeout=wait + 60, wait=wait or None)
    context: dict[str, Any] = answer["context"]
    if wait and context["state"] == "enabling":
        raise CommandError(
            f"{what} is registered for {body['job']}@{body['env']}, but not enabled after {wait:g} s"
            f" ({context.get('state_reason') or 'no lock yet'}): it becomes enabled by itself;"
            " `kirby supervisors` tells whether a worker is alive"
        )
    return dict(answer)


def check_schedule(client: Client, timing: Mapping[str, Any]) -> None:
    """Have the api judge the schedule before anything is built or uploaded."""
    if not client.post("/schedules/preview", {**timing, "n": 1})["due"]:
        raise CommandError("That schedule never fires: no date matches it")
