"""`kirby contexts`: a job in an environment."""

from typing import Annotated

from cyclopts import App, Parameter

from kirby.cli.database.policy_options import Chosen, Policy, Retries, Timeout
from kirby.cli.database.resource import Resource
from kirby.cli.errors import UsageError
from kirby.cli.options import Home, Output

_contexts = Resource(
    "contexts",
    "context",
    [
        ("JOB", "job"),
        ("ENV", "env"),
        ("STATE", "state"),
        ("SCRIPT", lambda c: c["script"] and f"{c['script']['package_name']} {c['script']['package_version']}"),
        ("SCHEDULES", "schedules"),
        ("NEXT", "next_due_at"),
        ("PAUSED", lambda c: c["paused"] and (c["pause_reason"] or True)),
        ("WHY", "state_reason"),
    ],
)
app: App = _contexts.app("contexts", help="Jobs in environments: which version runs there, when, and whether.")

Script = Annotated[str | None, Parameter(help="NAME==VERSION of the package to run.")]
Entry = Annotated[str | None, Parameter(help="A console script, or module:function; default the package's own.")]
Schedule = Annotated[list[str] | None, Parameter(negative="", help="The name of a schedule; repeatable, replaces.")]
Enabled = Annotated[bool | None, Parameter(negative="--disabled", help="Whether its due times count.")]
Replicas = Annotated[int | None, Parameter(help="Daemons: how many.")]
Pool = Annotated[str | None, Parameter(help="The pool of workers that run it.")]
Arg = Annotated[list[str] | None, Parameter(negative="", allow_leading_hyphen=True, help="An argument; repeatable.")]


@app.default
@app.command(name="list")
def list_contexts(
    *,
    job: str | None = None,
    env: str | None = None,
    state: str | None = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """List the contexts."""
    _contexts.list(home=home, output=output, job=job, env=env, state=state)


@app.command
def add(
    job: str,
    /,
    *,
    env: str,
    script: Script = None,
    entry: Entry = None,
    schedule: Schedule = None,
    enabled: Enabled = None,
    replicas: Replicas = None,
    pool: Pool = None,
    arg: Arg = None,
    timeout: Timeout = None,
    attempts: Retries = None,
    policy: Policy = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Put a job into an environment."""
    body = {
        "job": job,
        "env": env,
        "script": _script(script, entry),
        "schedules": schedule,
        "enabled": enabled,
        "replicas": replicas,
        "pool": pool,
        "args": arg,
        "policies": Chosen(timeout, attempts, policy).body() or None,
    }
    _contexts.add(body, home=home, output=output)


@app.command(name="set")
def set_context(
    context: Annotated[str, Parameter(help="JOB@ENV or an id.")],
    /,
    *,
    script: Script = None,
    entry: Entry = None,
    schedule: Schedule = None,
    enabled: Enabled = None,
    paused: Annotated[bool | None, Parameter(negative="--resumed", help="Skip due times until it is resumed.")] = None,
    reason: Annotated[str | None, Parameter(help="Why it is paused.")] = None,
    replicas: Replicas = None,
    pool: Pool = None,
    arg: Arg = None,
    timeout: Timeout = None,
    attempts: Retries = None,
    policy: Policy = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Change a context: its version, schedules, arguments; enable, pause or resume it."""
    body = {
        "script": _script(script, entry),
        "schedules": schedule,
        "enabled": enabled,
        "paused": paused,
        "pause_reason": reason,
        "replicas": replicas,
        "pool": pool,
        "args": arg,
        "policies": Chosen(timeout, attempts, policy).body() or None,
    }
    _contexts.set(context, body, home=home, output=output)


def _script(text: str | None, entry: str | None) -> dict[str, str | None] | None:
    if text is None:
        return None
    name, equals, version = text.partition("==")
    if not equals or not name or not version:
        raise UsageError(f"--script {text!r}: write it as NAME==VERSION")
    return {"package_name": name.strip(), "package_version": version.strip(), "entry": entry}
