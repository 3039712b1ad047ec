"""`kirby deploy`: build, publish and register in one go."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.client import Client, Refused, ref
from kirby.cli.database.policy_options import Chosen, Policy, Retries, Timeout
from kirby.cli.database.resource import given
from kirby.cli.database.schedules import At, Dst, Every, Tz, timing, when_in_words
from kirby.cli.deployment import check_schedule
from kirby.cli.deployment import deploy as register
from kirby.cli.dist_files import built
from kirby.cli.errors import UsageError
from kirby.cli.options import Home, Output, connect, pairs
from kirby.cli.publishing import publish, say
from kirby.cli.script_wheel import BuiltWheel
from kirby.cli.show import print_json

app: App = App(name="deploy", help="Build, publish and register a script, project or wheel in one go.")

_PUBLISHED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)")


@app.default
def deploy(
    source: Annotated[str, Parameter(help="FILE.py, a project's folder, a wheel or sdist; or NAME==VERSION.")],
    /,
    *,
    env: Annotated[str, Parameter(help="The environment; made when it is new.")],
    job: Annotated[str | None, Parameter(help="The job's name; default the package's.")] = None,
    schedule: Annotated[str | None, Parameter(help="A cron expression, for example '30 2 * * *'.")] = None,
    every: Every = None,
    at: At = None,
    tz: Tz = None,
    dst: Dst = None,
    daemon: Annotated[bool, Parameter(negative="", help="Keep it running all the time.")] = False,
    replicas: Annotated[int | None, Parameter(help="Daemons: how many.")] = None,
    group: Annotated[str | None, Parameter(help="Daemons: the consumer group of the replicas.")] = None,
    namespace: str | None = None,
    label: Annotated[list[str] | None, Parameter(negative="", help="NAME=VALUE; repeatable.")] = None,
    var: Annotated[list[str] | None, Parameter(negative="", help="NAME=VALUE for the script; repeatable.")] = None,
    entry: Annotated[str | None, Parameter(help="A console script, or module:function.")] = None,
    arg: Annotated[list[str] | None, Parameter(negative="", allow_leading_hyphen=True, help="Repeatable.")] = None,
    timeout: Timeout = None,
    attempts: Retries = None,
    policy: Policy = None,
    wait: Annotated[float, Parameter(help="Seconds to wait until it is enabled; 0: do not wait.")] = 300,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Build, publish and register in one go. Deploying again changes the version and what else was said, no more."""
    when = None
    if schedule or every or at:
        when = timing(schedule, every=every, at=at, tz=tz, dst=dst)
    if daemon and when:
        raise UsageError("A daemon runs all the time and has no schedule: leave out --daemon or the schedule")
    labels, variables = pairs(label or [], option="--label"), pairs(var or [], option="--var")
    policies = Chosen(timeout, attempts, policy).body()
    with connect(home) as client:
        client.get("/me")
        if when:
            check_schedule(client, when)
        name, version = _package(client, source)
        body = given(
            {
                "job": job or name,
                "env": env,
                "type": "daemon" if daemon else "scheduled" if when else _type_of(client, job or name),
                "package_name": name,
                "package_version": version,
                "entry": entry,
                "namespace": namespace,
                "labels": labels or None,
                "args": arg,
                "schedule": when and {key: value for key, value in when.items() if key != "kind"},
                "replicas": replicas,
                "group": group,
                "variables": variables or None,
                "policies": policies or None,
                "enable": True,
            }
        )
        answer = register(client, body, wait=wait)
    if output == "json":
        return print_json(answer)
    print(_told(answer["context"], when))


def _package(client: Client, source: str) -> tuple[str, str]:
    """What to run: published just now, or named as NAME==VERSION."""
    published = _PUBLISHED.fullmatch(source)
    if published and not Path(source).exists():
        return published[1], published[2]
    dist: BuiltWheel = built(Path(source))
    say(f"Built {dist.name} {dist.version} from {source}")
    publish(client, dist)
    return dist.name, dist.version


def _type_of(client: Client, job: str) -> str:
    """A job that exists keeps its type."""
    try:
        return str(client.get(f"/jobs/{ref(job)}")["type"])
    except Refused as error:
        if error.status != 404:
            raise
        return "scheduled"


def _told(context: Mapping[str, Any], when: Mapping[str, Any] | None) -> str:
    label = f"{context['job']}@{context['env']}"
    if context["state"] != "enabled":
        return f"{label} is {context['state']}: {context.get('state_reason') or 'no lock yet'}"
    if when:
        return f"{label} is enabled: {when_in_words(when)}"
    if context.get("schedules"):
        return f"{label} is enabled on schedule {', '.join(context['schedules'])}"
    if context.get("type") == "daemon":
        return f"{label} is enabled and kept running"
    return f"{label} is enabled; `kirby trigger {context['job']} --env {context['env']}` runs it"
