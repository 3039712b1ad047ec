"""`kirby login-link`."""

from cyclopts import App

from kirby.cli.options import Home, Output, connect
from kirby.cli.show import print_item

app: App = App(name="login-link", help="Print a link that signs a browser in, once, within an hour.")


@app.default
def login_link(*, home: Home = None, output: Output = "table") -> None:
    """Print a link that signs a browser in as yourself, once, within an hour."""
    with connect(home) as client:
        answer = client.post("/login-links")
    if output == "json":
        return print_item(answer, output=output)
    print(answer["url"])
