"""`kirby publish`: put distributions on the private index."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from kirby.cli.dist_files import built
from kirby.cli.errors import UsageError
from kirby.cli.options import Home, Output, connect
from kirby.cli.publishing import publish
from kirby.cli.show import print_json

app: App = App(name="publish", help="Upload wheels or sdists to the private index.")


@app.default
def publish_all(
    *dists: Annotated[Path, Parameter(help="Wheels, sdists, script files or project folders.")],
    home: Home = None,
    output: Output = "table",
) -> None:
    """Upload distributions to the private index, where workers look first. All are checked before the first goes."""
    if not dists:
        raise UsageError("Name what to publish: kirby publish dist/*.whl")
    ready = [built(path) for path in dists]
    with connect(home) as client:
        for dist in ready:
            publish(client, dist)
    if output == "json":
        print_json([{"name": dist.name, "version": dist.version, "filename": dist.filename} for dist in ready])
