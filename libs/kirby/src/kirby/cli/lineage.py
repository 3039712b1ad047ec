"""`kirby lineage`: where messages come from, and what jobs read and write."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.options import Home, Output, connect
from kirby.cli.show import Column, print_items, print_json

app: App = App(name="lineage", help="Where a message comes from and what it touched; what jobs read and write.")

_HOPS: list[Column] = [
    ("BY", lambda h: _maker(h)),
    ("ENV", "env"),
    ("READ", lambda h: [_range(r) for r in h["inputs"]] or "(nothing)"),
    ("WROTE", lambda h: _place(h["output"])),
    ("AT", lambda h: h["output"]["at"] or "(not kept)"),
    ("RUN", "run_id"),
    ("ATTEMPT", "attempt"),
]
_TOUCHES: list[Column] = [
    ("BY", lambda t: _maker(t)),
    ("FOR", lambda t: _place(t["of"])),
    ("TOUCHED", lambda t: f"{t['kind']} {t['name']}"),
    ("MESSAGE", lambda t: t["message"] and t["message"]["place"]),
    ("AT", "at"),
    ("RUN", "run_id"),
    ("EXACT", "exact"),
]
_EDGES: list[Column] = [
    ("FROM", "source"),
    ("TO", "target"),
    ("COUNT", "count"),
    ("A SECOND", "rate"),
    ("LAG", "lag"),
    ("LAST SEEN", lambda e: e["last_seen"] or "(registered)"),
]


@app.default
def lineage(
    topic: Annotated[str | None, Parameter(help="Only what leads to this topic and from it.")] = None,
    /,
    *,
    message: Annotated[str | None, Parameter(help="The journey of one message, PARTITION:OFFSET.")] = None,
    job: Annotated[str | None, Parameter(help="Only what leads to this job and from it.")] = None,
    env: Annotated[str | None, Parameter(help="The environment; of a topic or a job, prod.")] = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Show the graph of jobs and what they read and write, or with --message a message's journey."""
    with connect(home) as client:
        if message is not None:
            found = client.get("/lineage/journey", topic=topic or "", message=message, env=env)
        else:
            found = client.get("/lineage/graph", topic=topic, job=job, env=env)
    if output == "json":
        return print_json(found)
    if message is not None:
        return _print_journey(found)
    lags = {node["id"]: node["lag"] for node in found["nodes"]}
    edges = [{**edge, "lag": lags.get(edge["target"])} for edge in found["edges"]]
    print_items(edges, _EDGES, output=output, none="Nothing has been read or written yet by scripts that use Kirby.")


def _print_journey(found: Mapping[str, Any]) -> None:
    mark = ", made by a re-run" if found["rerun"] else ""
    print(f"{found['topic']} {found['place']}, trace {found['trace'] or '(none)'}{mark}")
    if found["dropped"]:
        print(f"{found['dropped']} older hops are not in its header any more.")
    print_items(found["hops"], _HOPS, output="table", none="Nobody knows where it comes from: Kirby did not write it.")
    if found["touched"]:
        print("\nWhat came of it:")
        print_items(found["touched"], _TOUCHES, output="table", none="")
    if found.get("expired"):
        print("Some of what came of it is not kept any more: its topic's retention has deleted it.", file=sys.stderr)
    if found["more"]:
        print("There is more: ask for one of these messages.", file=sys.stderr)


def _maker(item: Mapping[str, Any]) -> str:
    if item["hidden"]:
        return "(not yours to see)"
    return str(item["by"]) if item["known"] else f"(unknown process {item['process']})"


def _place(place: Mapping[str, Any]) -> str:
    return f"{place['topic'] or '?'} {place['place']}"


def _range(span: Mapping[str, Any]) -> str:
    first, last = span["from"], span["to"] - 1
    return f"{span['topic'] or '?'} {span['partition']}:{first}" + (f"-{last}" if last > first else "")
