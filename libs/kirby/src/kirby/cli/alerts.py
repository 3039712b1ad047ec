"""`kirby alerts`: missed marks."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from kirby.cli.options import Home, Output, connect
from kirby.cli.show import Column, print_items

app: App = App(name="alerts", help="Missed marks: what should be and is not, now and earlier.")

_COLUMNS: list[Column] = [
    ("SINCE", "opened_at"),
    ("OVER", "closed_at"),
    ("KIND", "kind"),
    ("WHAT", "subject"),
    ("WHY", "reason"),
]


@app.default
@app.command(name="list")
def list_alerts(
    *,
    state: Annotated[
        Literal["open", "closed", "all"], Parameter(help="Those that last, or those that are over.")
    ] = "open",
    kind: Annotated[str | None, Parameter(help="Only these, such as no_leader or daemon_stalled.")] = None,
    job: str | None = None,
    env: str | None = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """List the alerts, newest first; by default those that last."""
    with connect(home) as client:
        items = client.pages("/alerts", state=state, kind=kind, job=job, env=env)
        none = "No alerts: all is as it should be." if state == "open" else "No alerts."
        print_items(items, _COLUMNS, output=output, none=none)
