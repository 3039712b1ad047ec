"""`kirby tokens`: API tokens, shown once."""

from datetime import datetime
from typing import Annotated

from cyclopts import App, Parameter

from kirby.cli.client import ref
from kirby.cli.database.resource import given
from kirby.cli.errors import UsageError
from kirby.cli.options import Home, Output, connect
from kirby.cli.show import print_item, print_items

app: App = App(name="tokens", help="API tokens: for CI, for KIRBY_TOKEN.")


@app.default
@app.command(name="list")
def list_tokens(*, home: Home = None, output: Output = "table") -> None:
    """List the tokens; never their text."""
    columns = [
        ("ID", "id"), ("USER", "user"), ("LABEL", "label"), ("MADE", "created_at"), ("ENDS", "expires_at"),
        ("LAST USED", "last_used_at"),
    ]  # fmt: skip
    with connect(home) as client:
        print_items(client.get("/tokens")["items"], columns, output=output, none="No tokens.")


@app.command
def add(
    label: Annotated[str, Parameter(help="What it is for.")],
    /,
    *,
    user: Annotated[str | None, Parameter(help="Whose; default one's own.")] = None,
    expires: Annotated[str | None, Parameter(help="When it ends, for example 2027-01-01; default never.")] = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Make a token and print it: it can't be read again."""
    body = {"label": label, "user": user, "expires_at": expires and _instant(expires)}
    with connect(home) as client:
        token = client.post("/tokens", given(body))
    if output == "json":
        return print_item(token, output=output)
    print(token["token"])


@app.command
def remove(id: str, /, *, home: Home = None) -> None:
    """Take a token back."""
    with connect(home) as client:
        client.delete(f"/tokens/{ref(id)}")
    print(f"Removed token {id}")


def _instant(text: str) -> str:
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError:
        raise UsageError(f"{text!r} is not an instant: write it like 2027-01-01 or 2027-01-01T06:00:00Z") from None
