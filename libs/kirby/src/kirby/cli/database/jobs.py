"""`kirby jobs`."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from kirby.cli.client import ref
from kirby.cli.database.policy_options import Chosen, Policy, Retries, Timeout
from kirby.cli.database.resource import Ref, Resource
from kirby.cli.options import Home, Output, connect, pairs

_jobs = Resource(
    "jobs",
    "job",
    [
        ("NAME", "name"),
        ("TYPE", "type"),
        ("NAMESPACE", "namespace"),
        ("ENVIRONMENTS", lambda job: [f"{c['env']} ({c['state']})" for c in job["contexts"]]),
        ("NEXT", lambda job: min((c["next_due_at"] for c in job["contexts"] if c.get("next_due_at")), default=None)),
        ("PAUSED", lambda job: job["paused"] and (job["pause_reason"] or True)),
        ("AFTER", "after"),
        ("LABELS", "labels"),
    ],
)
app: App = _jobs.app("jobs", help="Jobs: what runs, on a schedule or as a daemon.")

Type = Annotated[Literal["scheduled", "daemon"] | None, Parameter(help="On a schedule, or all the time.")]
Namespace = Annotated[str | None, Parameter(help="Dotted, for example sales.reports.")]
Label = Annotated[list[str] | None, Parameter(negative="", help="NAME=VALUE; repeatable.")]
Group = Annotated[str | None, Parameter(help="Daemons: the consumer group that the replicas share.")]
Exclusive = Annotated[bool | None, Parameter(help="Daemons: never two of a slot at once; default yes without a group.")]
Kafka = Annotated[Literal["default", "none"] | None, Parameter(help="none: the script gets no KAFKA_* variables.")]
After = Annotated[
    list[str] | None,
    Parameter(
        negative="--after-nothing",
        help="Run when this JOB has succeeded in the same environment; JOB:failure, JOB:done. Repeatable: all of them.",
    ),
]
Description = Annotated[str | None, Parameter(help="What it does.")]


@app.default
@app.command(name="list")
def list_jobs(*, namespace: Namespace = None, type: Type = None, home: Home = None, output: Output = "table") -> None:
    """List the jobs."""
    _jobs.list(home=home, output=output, namespace=namespace, type=type)


@app.command
def add(
    name: str,
    /,
    *,
    type: Type = None,
    namespace: Namespace = None,
    description: Description = None,
    label: Label = None,
    group: Group = None,
    exclusive: Exclusive = None,
    kafka: Kafka = None,
    after: After = None,
    timeout: Timeout = None,
    attempts: Retries = None,
    policy: Policy = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Add a job; `kirby deploy` does that and the rest in one go."""
    body = {
        "name": name,
        "type": type,
        "namespace": namespace,
        "description": description,
        "labels": pairs(label, option="--label") if label else None,
        "group": group,
        "exclusive": exclusive,
        "kafka": kafka,
        "after": after,
        "policies": Chosen(timeout, attempts, policy).body() or None,
    }
    _jobs.add(body, home=home, output=output)


@app.command(name="set")
def set_job(
    name: Ref,
    /,
    *,
    type: Type = None,
    namespace: Namespace = None,
    description: Description = None,
    label: Label = None,
    group: Group = None,
    exclusive: Exclusive = None,
    kafka: Kafka = None,
    after: After = None,
    timeout: Timeout = None,
    attempts: Retries = None,
    policy: Policy = None,
    paused: Annotated[
        bool | None, Parameter(negative="--resumed", help="Skip its due times in all environments until resumed.")
    ] = None,
    reason: Annotated[str | None, Parameter(help="Why it is paused.")] = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Change a job; pause or resume it. Labels and policies that are given are added to those it has."""
    labels, policies = pairs(label or [], option="--label"), Chosen(timeout, attempts, policy).body()
    if labels or policies:
        with connect(home) as client:
            now = client.get(f"/jobs/{ref(name)}")
        labels, policies = now["labels"] | labels if labels else {}, now["policies"] | policies if policies else {}
    body = {
        "type": type,
        "namespace": namespace,
        "description": description,
        "labels": labels or None,
        "group": group,
        "exclusive": exclusive,
        "kafka": kafka,
        "after": after,
        "policies": policies or None,
        "paused": paused,
        "pause_reason": reason,
    }
    _jobs.set(name, body, home=home, output=output)
