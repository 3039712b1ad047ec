"""`kirby status`: how the suite is."""

from cyclopts import App

from kirby.cli.errors import ExitCode
from kirby.cli.options import Home, Output, connect
from kirby.cli.show import cell, print_json, print_table

app: App = App(name="status", help="How the suite is: parts, leader, workers, runs. Exits 1 when something is down.")


@app.default
def status(*, home: Home = None, output: Output = "table") -> int:
    """Print how the suite is. Exits 1 when something is down."""
    with connect(home) as client:
        health = client.get("/health")
    if output == "json":
        print_json(health)
    else:
        leader, workers, runs = health.get("leader") or {}, health.get("workers") or {}, health.get("runs") or {}
        print(f"Kirby {health.get('version', '')} is {health.get('status')}")
        print(f"leader   {leader.get('name') or 'none'}")
        print(f"workers  {workers.get('alive', 0)} of {workers.get('total', 0)} alive")
        print("runs     " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in runs.items()))
        print()
        parts = health.get("parts") or []
        print_table([[p["name"], p["status"], cell(p.get("detail"))] for p in parts], ["PART", "STATUS", ""])
    return ExitCode.OK if health.get("status") == "ok" else ExitCode.FAILED
