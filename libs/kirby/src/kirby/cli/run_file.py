"""`kirby run`: a script file, once, on the suite, with its lines here."""

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.client import Client, ref
from kirby.cli.deployment import deploy
from kirby.cli.dist_files import built
from kirby.cli.errors import CommandError, ExitCode, UsageError
from kirby.cli.log_lines import Ended, follow, text_of
from kirby.cli.options import Home, connect, pairs
from kirby.cli.publishing import publish, say
from kirby.cli.run_refs import code_of, told
from kirby.cli.script_wheel import BuiltWheel

app: App = App(name="run", help="Run a script file once on the suite, print its lines here, and exit with its code.")


@app.default
def run(
    file: Annotated[Path, Parameter(help="The script.")],
    /,
    *args: Annotated[str, Parameter(allow_leading_hyphen=True, help="Arguments for the script, after --.")],
    env: Annotated[str, Parameter(help="The environment to run it in.")] = "dev",
    var: Annotated[list[str] | None, Parameter(negative="", help="NAME=VALUE for the script; repeatable.")] = None,
    timeout: Annotated[str | None, Parameter(help="End it when it takes longer, for example 90s.")] = None,
    wait: Annotated[float, Parameter(help="Seconds to wait for a worker to resolve it.")] = 300,
    home: Home = None,
) -> int:
    """Run a script file once, as the job adhoc/FILE. Ctrl-C asks whether to kill it."""
    if file.suffix != ".py" or not file.is_file():
        raise UsageError(f"{file} is not a script file: `kirby deploy` takes projects and wheels")
    variables = pairs(var or [], option="--var")
    dist = built(file)
    with connect(home) as client:
        publish(client, dist)
        body = _deployment(file, dist, env=env, timeout=timeout)
        deploy(client, body, wait=wait)
        wanted = {"job": body["job"], "env": env, "args": list(args), "variables": variables}
        made = client.post("/runs", wanted)
        if made["package_version"] != dist.version:
            client.post(f"/runs/{ref(made['run_id'])}/kill", {"reason": "another version was deployed meanwhile"})
            told_why = f"Somebody else ran another {file.name} at the same moment: run it again"
            raise CommandError(told_why, ExitCode.CONFLICT)
        ended = _followed(client, made["run_id"])
    say(told(ended))
    return code_of(ended)


def _deployment(file: Path, dist: BuiltWheel, *, env: str, timeout: str | None) -> dict[str, Any]:
    policies = {"overlap": "allow"} | ({"timeout": timeout} if timeout else {})
    return {
        "job": f"adhoc/{file.name}",
        "env": env,
        "type": "scheduled",
        "namespace": "adhoc",
        "package_name": dist.name,
        "package_version": dist.version,
        "policies": policies,
        "enable": True,
    }


def _followed(client: Client, run_id: str) -> dict[str, Any]:
    """Print the run's lines, each to the stream it was printed to, until it ends."""
    after: str | None = None
    while True:
        try:
            for line in follow(client, run_id, after=after):
                after = line["id"]
                print(text_of(line), file=sys.stderr if line["stream"] == "stderr" else sys.stdout, flush=True)
        except Ended as ended:
            return dict(ended.run)
        except KeyboardInterrupt:
            client.close()
            _asked_to_end(client, run_id)


def _asked_to_end(client: Client, run_id: str) -> None:
    """Ctrl-C: kill the run, or leave it running on the suite; without a terminal there is nobody to ask."""
    answer = "k"
    if sys.stdin.isatty():
        print(f"\nKill the run {run_id}? [Y]es, [n]o, go on watching, [l]eave it running: ", file=sys.stderr, end="")
        answer = input().strip().lower()[:1] or "y"
    if answer in {"k", "y"}:
        say("Killing it …")
        client.post(f"/runs/{ref(run_id)}/kill", {"reason": "interrupted at the command line"})
    elif answer == "l":
        raise CommandError(f"It goes on: kirby logs -f {run_id}", ExitCode.INTERRUPTED)
