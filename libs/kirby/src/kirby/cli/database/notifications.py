"""`kirby notifications`: which group hears of which job."""

from typing import Annotated

from cyclopts import App, Parameter

from kirby.cli.database.resource import Ref, Resource
from kirby.cli.options import Home, Output

_notifications = Resource(
    "notifications",
    "notification",
    [
        ("JOB", "job"),
        ("ENV", "env"),
        ("GROUP", "group"),
        ("ON FAILURE", "on_failure"),
        ("ON RETRY", "on_retry"),
        ("ID", "id"),
    ],
)
app: App = _notifications.app("notifications", help="Which group hears of which job's failures and retries.")

OnFailure = Annotated[bool | None, Parameter(help="Tell when a run has failed for good; default yes.")]
OnRetry = Annotated[bool | None, Parameter(help="Tell when an attempt has failed and another follows; default no.")]


@app.default
@app.command(name="list")
def list_notifications(
    *, job: str | None = None, env: str | None = None, home: Home = None, output: Output = "table"
) -> None:
    """List the notifications."""
    _notifications.list(home=home, output=output, job=job, env=env)


@app.command
def add(
    job: str,
    /,
    *,
    env: str,
    group: str,
    on_failure: OnFailure = None,
    on_retry: OnRetry = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Tell a group of a job's failures in an environment."""
    body = {"job": job, "env": env, "group": group, "on_failure": on_failure, "on_retry": on_retry}
    _notifications.add(body, home=home, output=output)


@app.command(name="set")
def set_notification(
    name: Ref,
    /,
    *,
    on_failure: OnFailure = None,
    on_retry: OnRetry = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Change what is told."""
    _notifications.set(name, {"on_failure": on_failure, "on_retry": on_retry}, home=home, output=output)
