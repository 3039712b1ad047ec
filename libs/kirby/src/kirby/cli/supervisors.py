"""`kirby supervisors`: the workers, and tokens for new ones."""

from typing import Annotated

from cyclopts import App, Parameter

from kirby.cli.options import Home, Output, connect
from kirby.cli.show import Column, print_item, print_items

app: App = App(name="supervisors", help="The workers, who leads, and tokens for new ones.")

_COLUMNS: list[Column] = [
    ("NAME", "name"),
    ("HOST", "host"),
    ("POOL", "pool"),
    ("LABELS", "labels"),
    ("ALIVE", "alive"),
    ("LEADS", "leader"),
    ("RUNNING", lambda s: f"{s['running']} of {s['places']}"),
    ("SINCE", "since"),
    ("LAST BEAT", "last_beat_at"),
    ("LONGEST GAP", lambda s: f"{s['max_beat_gap_ms'] / 1000:.2f} s of {s['lease_ms'] / 1000:g} s"),
    ("PYTHON", "python"),
    ("VERSION", "version"),
]


@app.default
@app.command(name="list")
def list_supervisors(*, home: Home = None, output: Output = "table") -> None:
    """List the workers: alive, leading, busy."""
    with connect(home) as client:
        answer = client.get("/supervisors")
        items = answer["items"] if isinstance(answer, dict) else answer
    print_items(items, _COLUMNS, output=output, none="No supervisors: `kirby supervisor NAME` starts one.")


@app.command
def add(
    name: Annotated[str, Parameter(help="The new worker's name.")], *, home: Home = None, output: Output = "table"
) -> None:
    """Make a token for a lone `kirby worker NAME`: set it there as KIRBY_WORKER_TOKEN. It can't be read again."""
    with connect(home) as client:
        answer = client.post("/supervisors", {"name": name})
    if output == "json":
        return print_item(answer, output=output)
    print(answer["token"])
