"""`kirby test`: runs scripts with folders of messages, and compares."""

import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.errors import ExitCode, UsageError
from kirby.cli.options import Home, Output
from kirby.cli.show import print_json
from kirby.cli.suite import default_home
from kirby.errors import KirbyError

if TYPE_CHECKING:
    from kirby.transport import Transport

app: App = App(
    name="test", help="Run scripts with folders of messages and compare what they leave: no broker is needed."
)

_KAFKA_S = 120.0


@dataclass(frozen=True)
class Result:
    """How a case went: `passed`, `failed` or `updated`."""

    name: str
    status: str
    seconds: float
    problems: Sequence[str] = ()
    note: str = ""
    output: str = ""


@app.default
def run_cases(
    *folders: Path,
    k: Annotated[str, Parameter(name="-k", help="Only cases whose name has this in it.")] = "",
    script: Annotated[
        str | None, Parameter(help="Run this (a file, or module:function) instead of what the cases name.")
    ] = None,
    update: Annotated[bool, Parameter(negative="", help="Write what came as what is expected.")] = False,
    record: Annotated[
        bool, Parameter(negative="", help="Ask web services for what there is no recording of, and keep it.")
    ] = False,
    kafka: Annotated[
        bool, Parameter(negative="", help="On KAFKA_BOOTSTRAP_SERVERS, or the broker of a running `kirby dev`.")
    ] = False,
    timeout: Annotated[
        float | None, Parameter(help="Seconds after which a script counts as hanging (30; 120 with --kafka).")
    ] = None,
    home: Home = None,
    output: Output = "table",
) -> int:
    """Run the cases in and below FOLDERS (default: here). Exits 1 when one fails, 2 when there is none."""
    found = _found(folders or (Path(),), k)
    cluster = _cluster(home) if kafka else None
    results = []
    for name, folder in found:
        result = _run(name, folder, script=script, update=update, record=record, cluster=cluster, timeout=timeout)
        results.append(result)
        if output != "json":
            _tell(result)
    failed = sum(1 for r in results if r.status == "failed")
    if output == "json":
        print_json({"passed": len(results) - failed, "failed": failed, "cases": [_as_json(r) for r in results]})
    else:
        print(f"{len(results) - failed} passed" + (f", {failed} failed" if failed else ""))
    return ExitCode.FAILED if failed else ExitCode.OK


def _found(folders: Sequence[Path], part: str) -> list[tuple[str, Path]]:
    """The cases by their names. Raises UsageError when there is none."""
    from kirby.testing.case import CASE_FILE, find_cases

    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"There is no folder {folder}")
    found = [(_name(case), case) for folder in folders for case in find_cases(folder)]
    if not found:
        where = " and ".join(map(str, folders))
        raise UsageError(f"There is no case in {where}: a case is a folder with a {CASE_FILE} or with topics/")
    chosen = [(name, case) for name, case in found if part in name]
    if not chosen:
        raise UsageError(f"None of the {len(found)} cases has {part!r} in its name")
    return chosen


def _name(case: Path) -> str:
    try:
        return str(case.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(case)


def _run(
    name: str,
    folder: Path,
    *,
    script: str | None,
    update: bool,
    record: bool,
    cluster: "Transport | None",
    timeout: float | None,
) -> Result:
    from kirby.testing import updating
    from kirby.testing.case import read_case
    from kirby.testing.checking import check
    from kirby.testing.comparing import problems

    began = time.perf_counter()

    def result(status: str, problems: Sequence[str] = (), note: str = "", output: str = "") -> Result:
        return Result(name, status, time.perf_counter() - began, problems, note, output)

    try:
        case = read_case(folder, script=script)
        limit = timeout or (max(case.given.timeout_s, _KAFKA_S) if cluster is not None else case.given.timeout_s)
        case = replace(case, given=replace(case.given, timeout_s=limit))
        checked = check(case, cluster=cluster, record=record)
        if checked.outcome is None:
            messages = sum(len(topic) for topic in case.given.topics.values())
            return result("passed", note=f"{messages} messages read, and no script: name one in case.toml, or --script")
        outcome = checked.outcome
        if record:
            updating.record(case, outcome)
        if update and outcome.ended_as(case.expected.exit_code) and (checked.problems or not case.compares):
            updating.update(case, outcome)
            # What can't be written away is still wrong.
            left = problems(read_case(folder, script=script), outcome)
            return result("failed" if left else "updated", left, output=outcome.output)
        note = "" if case.compares or checked.problems else "nothing was expected: --update writes what came"
        return result("failed" if checked.problems else "passed", checked.problems, note, outcome.output)
    except KirbyError as error:
        return result("failed", [str(error)])


def _cluster(home: Path | None) -> "Transport":
    """The broker to test on. Raises UsageError when there is none."""
    from kirby.testing.broker import find_broker

    try:
        return find_broker(home or default_home())
    except KirbyError as error:
        raise UsageError(str(error)) from error


def _tell(result: Result) -> None:
    sign = {"passed": "ok", "failed": "FAILED", "updated": "updated"}[result.status]
    note = f"  ({result.note})" if result.note else ""
    print(f"{sign:<8}{result.name}  {_duration(result.seconds)}{note}")
    for problem in result.problems:
        print(textwrap.indent(problem, "    "))
    sys.stdout.flush()


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "status": result.status,
        "seconds": round(result.seconds, 3),
        "problems": list(result.problems),
        "note": result.note,
        "output": result.output,
    }
