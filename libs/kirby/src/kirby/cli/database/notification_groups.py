"""`kirby notification-groups`."""

from typing import Annotated

from cyclopts import App, Parameter

from kirby.cli.database.resource import Ref, Resource
from kirby.cli.options import Home, Output

_groups = Resource(
    "notification-groups",
    "notification group",
    [("NAME", "name"), ("E-MAILS", "emails"), ("WEBHOOKS", "webhooks"), ("SUITE", "suite_alerts")],
)
app: App = _groups.app("notification-groups", help="Whom to tell when something fails.")

Email = Annotated[list[str] | None, Parameter(negative="", help="An address; repeatable.")]
Webhook = Annotated[list[str] | None, Parameter(negative="", help="A URL that gets signed JSON; repeatable.")]
Suite = Annotated[bool | None, Parameter(name="--suite-alerts", help='Tell it also what is of no job: "no leader" ….')]


@app.default
@app.command(name="list")
def list_groups(*, home: Home = None, output: Output = "table") -> None:
    """List the groups."""
    _groups.list(home=home, output=output)


@app.command
def add(
    name: str, /, *, email: Email = None, webhook: Webhook = None, suite: Suite = None, home: Home = None,
    output: Output = "table",
) -> None:  # fmt: skip
    """Add a group."""
    body = {"name": name, "emails": email, "webhooks": webhook, "suite_alerts": suite}
    _groups.add(body, home=home, output=output)


@app.command(name="set")
def set_group(
    name: Ref, /, *, email: Email = None, webhook: Webhook = None, suite: Suite = None, home: Home = None,
    output: Output = "table",
) -> None:  # fmt: skip
    """Replace a group's addresses or webhooks."""
    _groups.set(name, {"emails": email, "webhooks": webhook, "suite_alerts": suite}, home=home, output=output)
